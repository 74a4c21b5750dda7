"""The plan fits analyzers to machines, or says what does not fit and what would help."""

from __future__ import annotations

import pytest

from cluster.plan import GPU_USABLE, Machine, fraction, make_plan
from pipeline.errors import PlanError
from pipeline.types import AUDIO, SCAN, AnalyzerSpec


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
    assert plan.shares["vlm"].gpu_fraction == 0.5
    assert plan.shares["yolo"].gpu_fraction == 0.1
    assert sum(share.gpu_fraction for share in plan.shares.values()) <= GPU_USABLE


def test_small_shares_of_large_cards_do_not_round_to_nothing() -> None:
    assert fraction(0.5, 141) == 0.0036
    assert fraction(6, 141) * 141 >= 6


def test_replicas_spread_over_devices() -> None:
    plan = make_plan([spec("vlm", 20, replicas=2)], Machine(16, (24.0, 24.0)))
    assert plan.shares["vlm"].replicas == 2


def test_what_does_not_fit_says_so_and_what_would_help() -> None:
    with pytest.raises(PlanError, match=r"b needs 14 GB of one GPU .* left is 8\.6 GB .* smaller model"):
        make_plan([spec("a", 14), spec("b", 14)], Machine(16, (24.0,)))


def test_without_a_gpu_everything_runs_on_the_cpu() -> None:
    plan = make_plan([spec("vlm", 12)], Machine(8))
    assert plan.shares["vlm"].gpu_fraction == 0


def test_analyzers_share_a_process_unless_they_have_a_gpu_or_replicas() -> None:
    specs = [spec("a"), spec("b"), spec("c", replicas=2), spec("d", gpu_gb=4), spec("e"), spec("f")]
    plan = make_plan(specs, Machine(4, (24.0,)), together=[["a", "b", "c", "d", "gone"], ["f", "not asked for"]])
    assert sorted(plan.processes) == [("a", "b"), ("c",), ("c",), ("d",), ("e",), ("f",)]
    without_gpu = make_plan(specs, Machine(4), together=[["a", "b", "c", "d"]])
    assert ("a", "b", "d") in without_gpu.processes
