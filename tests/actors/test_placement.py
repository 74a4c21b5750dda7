"""Ray puts every actor on the GPU that the plan says, and says what it cannot give. The GPUs are logical."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CODE = """
import asyncio, json, os, sys
from pathlib import Path
import ray
import actors.pool
from actors.pool import RayPool
from cluster.boot import boot
from pipeline.errors import PlanError
from pipeline.settings import PlanOverride, RaySettings, Settings
from pipeline.types import SCAN, AnalyzerSpec
from tests import toys

folder = Path(sys.argv[1])

def told(name, gpu_gb):
    class TellsItsGpu(toys.Toy):
        spec = AnalyzerSpec(name, "1", SCAN, gpu_gb=gpu_gb)

        def load(self, device, profile):
            (folder / f"{name}-{os.getpid()}").write_text(f"{device} {ray.get_gpu_ids()}")
            super().load(device, profile)

    return TellsItsGpu

# By Ray's own rule (the fullest GPU that has room) `e` would go where `c` is, and the second replica of `a` beside it.
sizes = {"a": 20, "b": 18, "c": 12, "d": 11, "e": 4}
settings = Settings(
    ray=RaySettings(logical_gpus_gb=[24, 24, 48], object_store_bytes=100 << 20, together_on_gpu=[["d", "e"]]),
    plan={"a": PlanOverride(replicas=2)},
)

async def main():
    machine = boot(settings.ray)
    classes = {name: told(name, size) for name, size in sizes.items()}
    pool = RayPool(settings, machine)
    await pool.start(classes)
    outcomes = await pool.ready()
    assert all(outcome.ok for outcome in outcomes.values()), outcomes
    found = sorted((path.name.split("-")[0], path.read_text()) for path in folder.iterdir())
    planned = sorted((name, f"cpu [{p.gpu}]") for p in pool.plan.processes for name in p.names)
    second = RayPool(settings.model_copy(update={"plan": {}}), machine)
    usual_s, actors.pool.GPU_WAIT_S = actors.pool.GPU_WAIT_S, 2.0  # it would wait in vain
    try:
        await second.start({"b": classes["b"]})
        refused = ""
    except PlanError as error:
        refused = str(error)
    actors.pool.GPU_WAIT_S = usual_s
    await pool.close()
    await second.start({"b": classes["b"]})  # now that they are free
    again = (await second.loaded("b")).ok
    await second.close()
    print(json.dumps({"found": found, "planned": planned, "refused": refused, "again": again}))

asyncio.run(main())
"""


def test_actors_are_where_the_plan_says_and_hold_their_gpus_until_they_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["found"] == told["planned"]
    assert [name for name, _ in told["found"]] == ["a", "a", "b", "c", "d", "e"]
    assert "another job or session of this cluster holds them" in told["refused"]
    assert told["again"]
