"""What does not fit comes with settings that do: for toy analyzers, and for the real ones on machines of many sizes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from analyzers.models.hub import smaller
from cluster.advice import Advice, advise, toml, with_advice
from cluster.plan import GPU_USABLE, Machine, Plan, plan_for
from pipeline.analyzer import Options, ProfileName
from pipeline.errors import PlanError
from pipeline.registry import AnalyzerClass, discover, specs_of
from pipeline.settings import PlanOverride, Settings
from pipeline.types import SCAN, AnalyzerSpec
from tests import toys

FULL = Settings(profile="full")


class SizeOptions(Options):
    size: str = "large"


class Vlm(toys.Toy):
    """20 GB, or 9 as `medium`, or 5 as `small`."""

    spec = AnalyzerSpec("vlm", "1", SCAN)
    options_model: ClassVar[type[Options]] = SizeOptions

    @classmethod
    def spec_for(cls, profile: ProfileName, options: Any) -> AnalyzerSpec:
        return replace(cls.spec, gpu_gb={"large": 20.0, "medium": 9.0, "small": 5.0}[options.size])


class Captions(toys.Toy):
    spec = AnalyzerSpec("captions", "1", SCAN, gpu_gb=8.0)


class Pose(toys.Toy):
    spec = AnalyzerSpec("pose", "1", SCAN, gpu_gb=2.0)


TOYS: dict[str, AnalyzerClass] = {"vlm": Vlm, "captions": Captions, "pose": Pose}


def sizes_of_vlm(name: str, options: Any) -> list[tuple[int, Mapping[str, Any]]]:
    left = {"large": ["medium", "small"], "medium": ["small"], "small": []}
    return [(1, {"analyzers.vlm.size": size}) for size in left[options.size]] if name == "vlm" else []


def advice_for(gpu_gb: float, settings: Settings = FULL) -> Advice:
    found = advise(TOYS, settings, Machine(16, (gpu_gb,)), sizes_of_vlm)
    assert found is not None
    return found


def test_the_mildest_choice_that_fits_is_told() -> None:
    assert advice_for(24).lines() == ['analyzers.vlm.size = "medium"']
    assert advice_for(16).lines() == ['analyzers.vlm.size = "small"']


def test_where_no_choice_is_small_enough_analyzers_are_left_out_and_the_choice_is_taken_back() -> None:
    # Without captions 7.5 GB hold vlm and pose; smaller choices that do not help any more are not told.
    assert advice_for(8).lines() == ['analyzers.vlm.size = "small"', 'disabled = ["captions"]']


def test_replicas_are_lowered_before_an_analyzer_is_left_out() -> None:
    settings = FULL.model_copy(update={"plan": {"captions": PlanOverride(replicas=2)}})
    assert advice_for(17, settings).lines() == ['analyzers.vlm.size = "small"', "plan.captions.replicas = 1"]


def test_what_others_cannot_do_without_is_left_out_last() -> None:
    class NeedsCaptions(toys.Toy):
        spec = AnalyzerSpec("products", "1", SCAN, after=("captions",), gpu_gb=6)

    classes: dict[str, AnalyzerClass] = {"captions": Captions, "products": NeedsCaptions}
    found = advise(classes, FULL, Machine(16, (10.0,)), sizes_of_vlm)
    assert found is not None
    assert found.lines() == ['disabled = ["products"]']


def test_the_error_states_what_is_missing_and_the_exact_settings_in_one_line() -> None:
    machine = Machine(16, (24.0,))
    with pytest.raises(PlanError) as caught:
        plan_for(specs_of(TOYS, FULL), machine, FULL)
    said = str(with_advice(caught.value, TOYS, FULL, machine, sizes_of_vlm))
    assert "captions needs 8.0 GB of one GPU and the most that is left is 2.6 GB, 5.4 GB too little" in said
    assert 'it fits with analyzers.vlm.size = "medium"' in said
    assert "\n" not in said


def test_an_error_that_no_setting_causes_is_left_as_it_is() -> None:
    error = PlanError("somebody else holds the GPU")
    assert with_advice(error, TOYS, FULL, Machine(16, (48.0,)), sizes_of_vlm) is error


def test_settings_come_back_from_the_file_that_is_printed() -> None:
    settings = Settings(
        profile="full",
        disabled=["blip2"],
        analyzers={"vlm": {"size": "small", "prompt": 'say "what"\nis seen: äöü', "sizes": [1, 2.5], "on": True}},
        plan={"vlm": PlanOverride(replicas=2)},
    )
    assert Settings(**tomllib.loads(toml(settings))) == settings
    assert Settings(**tomllib.loads(toml(Settings()))) == Settings()


MACHINES = {
    "1x16": (16.0,),
    "1x24": (24.0,),
    "1x48": (48.0,),
    "1x80": (80.0,),
    "1x141": (141.0,),
    "4x24": (24.0,) * 4,
    "8x80": (80.0,) * 8,
}


def fitted(settings: Settings, machine: Machine) -> Plan:
    """The plan of all real analyzers, with the advised settings, read from the printed file, where they are needed."""
    try:
        return plan_for(specs_of(discover(), settings), machine, settings)
    except PlanError:
        advice = advise(discover(), settings, machine, smaller)
        assert advice is not None
        again = Settings(**tomllib.loads(toml(advice.settings)))
        classes = {name: cls for name, cls in discover().items() if name not in again.disabled}
        return plan_for(specs_of(classes, again), machine, again)


@pytest.mark.parametrize("name", MACHINES)
def test_all_analyzers_have_a_plan_directly_or_as_advised(name: str) -> None:
    machine = Machine(64, MACHINES[name])
    plan = fitted(FULL, machine)
    assert any(share.gpus for share in plan.shares.values()), "the full profile uses its GPUs"
    on_gpu = [process for process in plan.processes if process.gpu is not None]
    for device, size in enumerate(machine.gpus_gb):
        here = [process for process in on_gpu if process.gpu == device]
        assert sum(process.gpu_gb for process in here) <= size * GPU_USABLE + 1e-6
        assert sum(process.gpu_fraction for process in here) <= 1
    assert [process.gpu_gb for process in on_gpu] == sorted((process.gpu_gb for process in on_gpu), reverse=True)
    assert sum(process.cpus for process in plan.processes) + plan.decode_cpus <= machine.cpus + 1e-6


@pytest.mark.parametrize("name", ["1x80", "1x141", "4x24", "8x80"])
def test_on_eighty_gb_or_four_cards_everything_runs_as_it_is(name: str) -> None:
    plan = plan_for(specs_of(discover(), FULL), Machine(64, MACHINES[name]), FULL)
    assert set(plan.shares) == set(discover())


def test_eight_gpus_describe_on_all_of_them() -> None:
    plan = plan_for(specs_of(discover(), FULL), Machine(128, MACHINES["8x80"]), FULL)
    assert sorted(plan.shares["qwen2_vl_temporal"].gpus) == list(range(8))


@pytest.mark.parametrize("name", ["1x16", "1x24", "1x48"])
def test_the_largest_model_is_advised_down_where_it_does_not_fit(name: str) -> None:
    large = FULL.model_copy(update={"analyzers": {"qwen2_vl_temporal": {"model": "qwen2_vl_7b_instruct"}}})
    plan = fitted(large, Machine(64, MACHINES[name]))
    assert sum(process.gpu_gb for process in plan.processes) <= MACHINES[name][0] * GPU_USABLE
    assert "object_detection" in plan.shares


@pytest.mark.parametrize("name", ["1x16", "1x24"])
def test_on_small_cards_there_are_still_descriptions_speech_and_objects(name: str) -> None:
    shares = fitted(FULL, Machine(64, MACHINES[name])).shares
    assert {"qwen2_vl_temporal", "speech_transcription", "object_detection", "text_overlay"} <= set(shares)
