"""The plan fits analyzers to machines, or says what does not fit and what would help."""

from __future__ import annotations

import pytest

from cluster.plan import GPU_USABLE, Machine, fraction, make_plan, plan_for
from pipeline.errors import PlanError
from pipeline.registry import specs_of
from pipeline.settings import PlanOverride, RaySettings, Settings
from pipeline.types import AUDIO, GPU_CONTEXT_GB, SCAN, AnalyzerSpec
from tests import toys


def spec(name: str, gpu_gb: float = 0.0, cpus: float = 1.0, replicas: int = 1) -> AnalyzerSpec:
    return AnalyzerSpec(name, "1", SCAN, gpu_gb=gpu_gb, cpus=cpus, replicas=replicas)


def test_twenty_six_actors_and_the_decoder_start_on_two_cores() -> None:
    plan = make_plan([spec(f"a{n}") for n in range(26)], Machine(cpus=2))
    used = sum(share.cpus * share.replicas for share in plan.shares.values())
    assert used + plan.decode_cpus <= 2
    assert all(share.cpus > 0 and share.threads == 1 for share in plan.shares.values())
    assert plan.decode_cpus == 0.5


def test_a_large_machine_gives_what_was_asked() -> None:
    plan = make_plan([spec("a", cpus=4), AnalyzerSpec("b", "1", AUDIO)], Machine(cpus=64))
    assert (plan.shares["a"].cpus, plan.shares["a"].threads, plan.shares["b"].cpus) == (4, 4, 1)


def test_gpu_memory_becomes_fractions_that_fit_one_device() -> None:
    plan = make_plan([spec("vlm", 12), spec("yolo", 2.4), spec("clip", 3)], Machine(16, (24.0,)))
    fractions = {process.names[0]: process.gpu_fraction for process in plan.processes}
    assert (fractions["vlm"], fractions["yolo"]) == (0.5, 0.1)
    assert sum(fractions.values()) <= GPU_USABLE


def test_small_shares_of_large_cards_do_not_round_to_nothing() -> None:
    assert fraction(0.5, 141) == 0.0036
    assert fraction(6, 141) * 141 >= 6


def test_replicas_spread_over_devices() -> None:
    plan = make_plan([spec("vlm", 20, replicas=2)], Machine(16, (24.0, 24.0)))
    assert plan.shares["vlm"].gpus == (0, 1)


def test_the_work_is_spread_over_the_gpus_and_packed_only_where_it_must_be() -> None:
    spread = make_plan([spec("a", 8), spec("b", 7), spec("c", 6)], Machine(16, (24.0, 24.0)))
    assert [spread.shares[name].gpus for name in "abc"] == [(0,), (1,), (1,)]
    # Spread, 12 and 11 GB on one each leave no room for 20; packed, both lie on the first.
    packed = make_plan([spec("a", 8), spec("b", 7), spec("c", 14), spec("d", 15)], Machine(16, (24.0, 24.0)))
    assert packed.free_gb() == pytest.approx((24 * GPU_USABLE - 22, 24 * GPU_USABLE - 22))


def test_analyzers_of_one_gpu_process_pay_for_the_context_once() -> None:
    specs = [spec("a", 3), spec("b", 2.5), spec("vlm", 10), spec("on_cpu")]
    plan = make_plan(specs, Machine(16, (24.0,)), together_on_gpu=[["a", "b", "on_cpu", "gone"]])
    assert [(process.names, process.gpu_gb) for process in plan.processes if process.gpu == 0] == [
        (("vlm",), 10),
        (("a", "b"), 3 + 2.5 - GPU_CONTEXT_GB),
    ]


def test_the_largest_is_started_first() -> None:
    plan = make_plan([spec("a", 2), spec("b", 9), spec("c"), spec("d", 4)], Machine(16, (24.0,)))
    assert [process.names for process in plan.processes] == [("b",), ("d",), ("a",), ("c",)]


def test_more_gpus_give_the_costly_ones_a_replica_each_where_it_fits() -> None:
    specs = [spec("vlm", 10), spec("ocr", 8), spec("yolo", 2)]
    one = make_plan(specs, Machine(16, (24.0,)), replicate=["vlm", "ocr"])
    assert [one.shares[name].replicas for name in ("vlm", "ocr", "yolo")] == [1, 1, 1]
    four = make_plan(specs, Machine(64, (24.0,) * 4), replicate=["vlm", "ocr"])
    assert [four.shares[name].replicas for name in ("vlm", "ocr", "yolo")] == [4, 4, 1]
    assert sorted(four.shares["vlm"].gpus) == [0, 1, 2, 3]
    assert min(four.free_gb()) >= 0


def test_a_number_of_replicas_in_the_settings_is_kept() -> None:
    specs = {"vlm": spec("vlm", 10, replicas=2)}
    settings = Settings(plan={"vlm": PlanOverride(replicas=2)}, ray=RaySettings(replicate=["vlm"]))
    assert plan_for(specs, Machine(64, (24.0,) * 4), settings).shares["vlm"].replicas == 2
    free = settings.model_copy(update={"plan": {}})
    assert plan_for({"vlm": spec("vlm", 10)}, Machine(64, (24.0,) * 4), free).shares["vlm"].replicas == 4


def test_settings_override_what_an_analyzer_says_it_needs() -> None:
    settings = Settings(plan={"big": PlanOverride(gpu_gb=5, replicas=3)})
    found = specs_of({"big": toys.OnGpu, "small": toys.OnGpuToo}, settings)
    assert (found["big"].gpu_gb, found["big"].replicas, found["small"].gpu_gb) == (5, 3, 2.4)


def test_what_does_not_fit_says_which_and_by_how_much() -> None:
    with pytest.raises(
        PlanError, match=r"b needs 14\.0 GB of one GPU .* left is 8\.6 GB, 5\.4 GB too little .*28\.0 of 22"
    ):
        make_plan([spec("a", 14), spec("b", 14)], Machine(16, (24.0,)))


def test_without_a_gpu_everything_runs_on_the_cpu() -> None:
    plan = make_plan([spec("vlm", 12)], Machine(8))
    assert plan.shares["vlm"].gpus == ()
    assert plan.processes[0].gpu is None


def test_analyzers_share_a_process_unless_they_have_a_gpu_or_replicas() -> None:
    specs = [spec("a"), spec("b"), spec("c", replicas=2), spec("d", gpu_gb=4), spec("e"), spec("f")]
    plan = make_plan(specs, Machine(4, (24.0,)), together=[["a", "b", "c", "d", "gone"], ["f", "not asked for"]])
    names = sorted(process.names for process in plan.processes)
    assert names == [("a", "b"), ("c",), ("c",), ("d",), ("e",), ("f",)]
    # A large model that has to do without a GPU would hold up the small ones.
    without_gpu = make_plan(specs, Machine(4), together=[["a", "b", "c", "d"]])
    assert sorted(process.names for process in without_gpu.processes) == names
