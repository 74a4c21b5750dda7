"""Tests of the full profile's models on small checkpoints that the tests make. They need the extra `full`."""

from __future__ import annotations

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without torch there is nothing here to run, and the reason says what it waits for."""
    if importlib.util.find_spec("torch") is not None:
        return
    for item in items:
        if "tests/full" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="needs the extra `full` (make test-full sets it up)"))
