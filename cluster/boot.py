"""Brings Ray up (or joins a running cluster) and says what machine it found."""

from __future__ import annotations

import logging
import os
import warnings

import ray

from cluster.plan import Machine, gpu_sizes_gb
from pipeline.errors import PlanError
from pipeline.settings import RaySettings

# One thread per worker process: many single-threaded processes scale over cores, threads inside them do not, and
# oversubscribed thread pools cost a multiple. Analyzers that the plan gives more set it themselves.
SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# Ray ends idle workers above one per CPU after a second, and counts actors among them. The decoder's worker would then
# be started anew, imports and all, for every video. Ray also makes all workers equally nice (15), those that answer
# people like those that compute; setting ray.niceness tells them apart.
SYSTEM_CONFIG = {
    "num_workers_soft_limit": 64,
    "idle_worker_killing_time_threshold_ms": 600_000,
    "worker_niceness": 0,
}
NAMESPACE = "reelscope"
STARTS_MAX = 2
"""On a busy machine Ray may give up on its own processes before they are up."""

logger = logging.getLogger(__name__)


def boot(settings: RaySettings, *, dashboard: bool = False) -> Machine:
    """Initialize Ray if it is not, and return the machine that its resources describe.

    Args:
        settings: of Ray.
        dashboard: serve Ray's dashboard on this machine's loopback address, where we start Ray.

    Raises:
        PlanError: Ray does not start, or the cluster has no CPU to offer.
    """
    for left in reversed(range(STARTS_MAX)):
        if ray.is_initialized():
            break
        try:
            _start(settings, dashboard)
        except Exception as error:  # Ray's own have no common base
            ray.shutdown()
            if not left:
                where = f"the cluster at {settings.address}" if settings.address else "Ray on this machine"
                reason = " ".join(str(error).split())[:300]
                raise PlanError(
                    f"{where} did not start or answer: {reason}; see that it is up, or that this machine has "
                    "memory and processor time to spare, and try again"
                ) from error
            logger.warning("Ray did not start and is started again: %s", error)
    return machine(settings)


def _start(settings: RaySettings, dashboard: bool) -> None:
    os.environ.update(SINGLE_THREAD)  # inherited by every worker that this machine's raylet starts
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if settings.address:
            ray.init(address=settings.address, namespace=NAMESPACE, logging_level=logging.ERROR)
            return
        ray.init(
            include_dashboard=dashboard,
            num_gpus=len(settings.logical_gpus_gb) or None,
            namespace=NAMESPACE,
            object_store_memory=settings.object_store_bytes,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _system_config=SYSTEM_CONFIG,
        )


def machine(settings: RaySettings) -> Machine:
    """What the initialized Ray offers."""
    resources = ray.cluster_resources()
    cpus = float(resources.get("CPU", 0))
    if cpus <= 0:
        raise PlanError("Ray offers no CPU; start it with num_cpus of at least 1")
    count = int(resources.get("GPU", 0))
    if settings.logical_gpus_gb:
        return Machine(cpus, tuple(settings.logical_gpus_gb[:count]), logical_gpus=True)
    return Machine(cpus, gpu_sizes_gb()[:count])
