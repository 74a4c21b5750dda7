"""What all tests share: errors that are logged fail the test, one Ray for all that need it, small clips made once."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

from pipeline.errors import NotApplicable
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern, tone

FILLS_THE_MACHINE = {
    "tests/actors/test_placement.py",
    "tests/actors/test_ray_path.py",
    "tests/golden/test_every_analyzer.py",
    "tests/golden/test_truth.py",
    "tests/serve_app/test_app.py",
    "tests/test_measure.py",
}


class ByFile(LoadScopeScheduling):
    """Where tests run in several processes: a file is not torn apart, and one process has Ray and the heaviest."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "heavy" if file in FILLS_THE_MACHINE else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """The plugin's hook."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The list of files must stay whole."""
    files = {item.nodeid.partition("::")[0] for item in items if "ray_machine" in getattr(item, "fixturenames", ())}
    missing = sorted(file for file in files - FILLS_THE_MACHINE if not file.startswith("tests/full/"))
    assert not missing, f"add to FILLS_THE_MACHINE: {missing}"


@pytest.fixture(autouse=True)
def no_logged_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A record of level ERROR fails the test that caused it."""
    yield
    logged = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not logged, f"errors were logged: {[record.getMessage() for record in logged]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Test media and weights that come by npm are nowhere without it: such a test is skipped with that reason."""
    try:
        return (yield)
    except NotApplicable as error:
        if "npm" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def ray_machine() -> Iterator[object]:
    """Ray with two logical CPUs, shared by all tests that need it; yields the `Machine`."""
    import ray

    from cluster.boot import boot
    from pipeline.settings import RaySettings

    os.environ["REELSCOPE_RAY__NICENESS"] = "0"  # the other tests' processes are not nice either
    machine = boot(RaySettings(object_store_bytes=400 * 1024 * 1024))
    yield machine
    ray.shutdown()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s of 320x568 at 30 fps that brightens steadily, with a 440 Hz tone."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    return write_clip(path, moving_pattern(568, 320, 90), sound=tone(440.0, 3.0))


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(7)
