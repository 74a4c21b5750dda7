"""The pool of Ray actors: places them by the plan, and turns their deaths into `WorkerDied`: the call is sent again."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from actors.worker import WorkerActor
from cluster.plan import Machine, Plan, make_plan
from pipeline.analyzer import Profile
from pipeline.blocks import BlockItem
from pipeline.errors import WorkerDied
from pipeline.pool import Replica, WorkerPool
from pipeline.registry import AnalyzerClass, options_of
from pipeline.results import Upstream
from pipeline.settings import Settings
from pipeline.types import AnalyzerSpec
from pipeline.worker import Outcome

logger = logging.getLogger(__name__)


class RayPool(WorkerPool):
    """Workers are named Ray actors. Their items are references to blocks in the object store.

    Args:
        settings: of the run.
        machine: what Ray offers (`cluster.boot.boot` returns it).
    """

    def __init__(self, settings: Settings, machine: Machine) -> None:
        super().__init__(settings)
        self._machine = machine
        self._id = uuid.uuid4().hex[:6]
        self.plan: Plan | None = None

    def _launch(
        self, classes: Mapping[str, AnalyzerClass], specs: Mapping[str, AnalyzerSpec]
    ) -> dict[str, list[Replica]]:
        ray_settings = self.settings.ray
        self.plan = plan = make_plan(specs.values(), self._machine, ray_settings.decode_cpus, ray_settings.together)
        profile = Profile(self.settings.profile, self.settings.models_dir)
        replicas: dict[str, list[Replica]] = {name: [] for name in classes}
        for process in plan.processes:
            share = plan.shares[process[0]]
            device = "cuda:0" if share.gpu_fraction and not self._machine.logical_gpus else "cpu"
            analyzers = [(classes[name], options_of(classes[name], self.settings)) for name in process]
            actor = (
                ray.remote(WorkerActor)
                .options(
                    name=f"{'+'.join(process)}:{len(replicas[process[0]])}:{self._id}",
                    num_cpus=sum(plan.shares[name].cpus for name in process),
                    num_gpus=share.gpu_fraction,
                    max_restarts=-1,  # the pool counts how often a call dies with its worker
                    max_task_retries=0,
                )
                .remote(analyzers, device, profile, share.gpu_fraction)
            )
            for name in process:
                replicas[name].append(_ActorReplica(actor, name))
        return replicas


class _ActorReplica:
    """One analyzer of one actor. Restarting or ending it does so to the whole process."""

    def __init__(self, actor: Any, name: str) -> None:
        self._actor, self._name = actor, name

    async def load(self) -> Outcome:
        loaded: Outcome = await _answer(self._actor.load.remote(self._name))
        return loaded

    async def analyze(self, items: Sequence[BlockItem]) -> list[Outcome]:
        positions, blocks = [item.position for item in items], [item.block for item in items]
        outcomes: list[Outcome] = await _answer(self._actor.analyze.remote(self._name, positions, *blocks))
        return outcomes

    async def summarize(self, parts: Sequence[Any], upstream: Upstream) -> Outcome:
        report: Outcome = await _answer(self._actor.summarize.remote(self._name, list(parts), upstream))
        return report

    def restart(self) -> None:
        ray.kill(self._actor, no_restart=False)

    def close(self) -> None:
        ray.kill(self._actor)


async def _answer(reference: Awaitable[Any]) -> Any:
    try:
        return await reference
    except (ActorDiedError, ActorUnavailableError) as error:
        logger.info("a worker died and its call is sent again: %s", error)
        raise WorkerDied(f"the worker's process died ({type(error).__name__})") from None
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError as error:
        raise WorkerDied(f"the worker's process died ({type(error).__name__})") from None
