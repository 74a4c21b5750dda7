"""Ray that does not start: tried again once, then said in one line."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from cluster import boot as boot_module
from cluster.boot import boot
from cluster.plan import Machine
from pipeline.errors import PlanError
from pipeline.settings import RaySettings


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ray whose start fails as often as the first number says; the second counts the starts."""
    state, running = [0, 0], [False]

    def init(**arguments: Any) -> None:
        state[1] += 1
        if state[1] <= state[0]:
            raise Exception("The current node timed out during startup.\nMore lines.")
        running[0] = True

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: running[0])
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(boot_module, "machine", lambda settings: Machine(2))
    return state


def test_a_start_that_fails_once_is_tried_again(failing: list[int]) -> None:
    failing[0] = 1
    assert boot(RaySettings()) == Machine(2)
    assert failing[1] == 2


def test_one_that_fails_again_is_an_error_with_the_remedy(failing: list[int]) -> None:
    failing[0] = 9
    with pytest.raises(PlanError, match=r"Ray on this machine .*timed out during startup\. More lines\.; .*try again"):
        boot(RaySettings())
    assert failing[1] == 2
    with pytest.raises(PlanError, match="the cluster at ray:1 did not"):
        boot(RaySettings(address="ray:1"))


def test_a_ray_that_runs_is_taken_as_it_is(failing: list[int]) -> None:
    boot(RaySettings())
    boot(RaySettings())
    assert failing[1] == 1
