"""The benchmarks' own measurements see what they claim to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_spilling_is_seen_when_it_happens() -> None:
    """In an interpreter of its own, since its Ray gets a store that is too small on purpose."""
    code = """
import numpy, ray, time
from benchmarks.measure import spilled
from cluster.boot import boot
from pipeline.settings import RaySettings
boot(RaySettings(object_store_bytes=100 * 1024 * 1024))
assert not spilled()
held = [ray.put(numpy.zeros(20_000_000, numpy.uint8)) for _ in range(12)]
deadline = time.monotonic() + 30
while not spilled() and time.monotonic() < deadline:
    time.sleep(0.2)
assert spilled()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
