"""What all tests share: errors that are logged fail the test, one Ray for all that need it, small clips made once."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import NotApplicable
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern, tone

STARTS_RAY = ("tests/serve_app/test_app.py", "tests/test_measure.py")
"""Files that start a Ray of their own, in another process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For several processes: a file is not torn apart, and only one process starts Ray."""
    files = {item: item.nodeid.partition("::")[0] for item in items}
    with_ray = {file for item, file in files.items() if "ray_machine" in getattr(item, "fixturenames", ())}
    with_ray |= {file for file in files.values() if file in STARTS_RAY}
    for item, file in files.items():
        item.add_marker(pytest.mark.xdist_group("ray" if file in with_ray else file))


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
