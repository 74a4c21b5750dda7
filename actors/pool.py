"""The pool of Ray actors: places them by the plan, and turns their deaths into `WorkerDied`: the call is sent again."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.worker import WorkerActor
from cluster.plan import Machine, Plan, plan_for
from pipeline.analyzer import Profile
from pipeline.blocks import BlockItem
from pipeline.errors import PlanError, WorkerDied
from pipeline.pool import Replica, WorkerPool
from pipeline.registry import AnalyzerClass, options_of
from pipeline.results import Upstream
from pipeline.settings import Settings
from pipeline.types import AnalyzerSpec
from pipeline.worker import Outcome

logger = logging.getLogger(__name__)

GPU_WAIT_S = 30.0
"""How long Ray may take to reserve the GPUs. Longer than this, somebody else holds them."""


DEATH_NOTICED_S = 10.0
"""How long Ray may take to see that a worker has died; on a busy machine that is seconds."""
POLL_S = 0.2


class RayPool(WorkerPool):
    """Workers are named Ray actors. Their items are references to blocks in the object store.

    Ray packs fractions of GPUs by a rule of its own, which can differ from the plan's and leave no room for the last
    actor. So each GPU of the plan is reserved whole, as one bundle of a placement group, and every actor is put into
    the bundle of its GPU.

    Args:
        settings: of the run.
        machine: what Ray offers (`cluster.boot.boot` returns it).
    """

    def __init__(self, settings: Settings, machine: Machine) -> None:
        super().__init__(settings)
        self._machine = machine
        self._id = uuid.uuid4().hex[:6]
        self._reserved: PlacementGroup | None = None
        self.plan: Plan | None = None

    async def close(self) -> None:
        """End all workers, and give the GPUs back."""
        await super().close()
        if self._reserved is not None:
            remove_placement_group(self._reserved)
            self._reserved = None

    def _launch(
        self, classes: Mapping[str, AnalyzerClass], specs: Mapping[str, AnalyzerSpec]
    ) -> dict[str, list[Replica]]:
        self.plan = plan = plan_for(specs, self._machine, self.settings)
        self._reserved = _reserve(plan)
        profile = Profile(self.settings.profile, self.settings.models_dir)
        replicas: dict[str, list[Replica]] = {name: [] for name in classes}
        for process in plan.processes:
            device = "cpu" if process.gpu is None or self._machine.logical_gpus else "cuda:0"
            analyzers = [(classes[name], options_of(classes[name], self.settings)) for name in process.names]
            where = {} if process.gpu is None else {"scheduling_strategy": _bundle(self._reserved, process.gpu)}
            actor = (
                ray.remote(WorkerActor)
                .options(
                    name=f"{'+'.join(process.names)}:{len(replicas[process.names[0]])}:{self._id}",
                    num_cpus=process.cpus,
                    num_gpus=process.gpu_fraction,
                    max_restarts=-1,  # the pool counts how often a call dies with its worker
                    max_task_retries=0,
                    **where,
                )
                .remote(analyzers, device, profile, process.gpu_gb, self.settings.ray.niceness)
            )
            for name in process.names:
                replicas[name].append(_ActorReplica(actor, name))
        return replicas


def _reserve(plan: Plan) -> PlacementGroup | None:
    """One bundle per GPU, in the order of the GPUs, with the CPU shares of the processes on it.

    Raises:
        PlanError: Ray does not give them.
    """
    used = [process.gpu for process in plan.processes if process.gpu is not None]
    if not used:
        return None
    cpus = [0.0] * (max(used) + 1)
    for process in plan.processes:
        if process.gpu is not None:
            cpus[process.gpu] = round(cpus[process.gpu] + process.cpus, 4)
    # A GPU before the last one that is left empty keeps its bundle, so that bundles and GPUs are counted alike.
    group = placement_group([{"GPU": 1, "CPU": share} if share else {"GPU": 1} for share in cpus], strategy="PACK")
    if not group.wait(GPU_WAIT_S):
        remove_placement_group(group)
        raise PlanError(
            f"Ray did not give {len(cpus)} GPU(s) within {GPU_WAIT_S:.0f} s: another job or session of this cluster "
            "holds them; end it, or choose analyzers without a GPU"
        )
    return group


def _bundle(group: PlacementGroup | None, index: int) -> PlacementGroupSchedulingStrategy:
    return PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=index)


class _ActorReplica:
    """One analyzer of one actor. Restarting or ending it does so to the whole process."""

    def __init__(self, actor: Any, name: str) -> None:
        self._actor, self._name = actor, name

    async def load(self) -> Outcome:
        loaded: Outcome = await self._answer(self._actor.load.remote(self._name))
        return loaded

    async def analyze(self, items: Sequence[BlockItem]) -> list[Outcome]:
        positions, blocks = [item.position for item in items], [item.block for item in items]
        outcomes: list[Outcome] = await self._answer(self._actor.analyze.remote(self._name, positions, *blocks))
        return outcomes

    async def summarize(self, parts: Sequence[Any], upstream: Upstream) -> Outcome:
        report: Outcome = await self._answer(self._actor.summarize.remote(self._name, list(parts), upstream))
        return report

    async def _answer(self, reference: Awaitable[Any]) -> Any:
        try:
            return await reference
        except (ActorDiedError, ActorUnavailableError) as error:
            logger.info("a worker died and its call is sent again: %s", error)
            await self._replaced()
            raise WorkerDied(f"the worker's process died ({type(error).__name__})") from None
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            raise WorkerDied(f"the worker's process died ({type(error).__name__})") from None

    async def _replaced(self) -> None:
        """Wait until Ray has noticed the death. A call sent before that would count as a death of its own."""
        deadline_s = time.monotonic() + DEATH_NOTICED_S
        while time.monotonic() < deadline_s:
            try:
                await asyncio.wait_for(_plain(self._actor.load.remote(self._name)), DEATH_NOTICED_S)
                return
            except ActorUnavailableError:
                await asyncio.sleep(POLL_S)
            except (RayActorError, TimeoutError):
                return  # ended for good, or busy loading: what is sent now waits for it

    def restart(self) -> None:
        ray.kill(self._actor, no_restart=False)

    def close(self) -> None:
        ray.kill(self._actor)


async def _plain(reference: Awaitable[Any]) -> Any:
    return await reference
