"""The Ray Serve application: one ingress replica that holds the service, and what `reelscope serve` does around it.

`serve run serve_app.app:build config=reelscope.toml`, or cluster/serve.yaml for `serve deploy`, runs the same
application on a cluster that is there already.
"""

# No postponed annotations: Serve looks at the type of the builder's argument.

import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from cluster.boot import boot
from pipeline.errors import PlanError, ReelscopeError, UsageError
from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME: Final = "reelscope"
SWITCH_S: Final = 0.001
"""How long a thread of the replica keeps the interpreter while another waits. Python's 5 ms add up where Ray Data has
several threads for each video."""
OWN_ACCESS_LOG: Final = LoggingConfig(enable_access_log=False)
"""serve_app.api.logs writes one line per request; Serve would write two more."""
OTHER_REQUESTS_MAX: Final = 256
"""Requests beside event streams that the replica works at together: uploads above all."""
QUEUED_REQUESTS_MAX: Final = 512
"""Requests that wait in the proxy for those; one more is answered 503 by Serve itself."""
DRAIN_EXTRA_S: Final = 20.0
"""For closing event streams, the store and the actors, after running jobs had their time."""
START_S_MAX: Final = 600.0
LOG: Final = "service.log"
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
LOGS_KEPT: Final = 4
POLL_S: Final = 0.2

logger = logging.getLogger(__name__)


class AppArgs(BaseModel):
    """Arguments of the application, as they stand under `args` in Serve's config file.

    Args:
        config: a TOML file with settings, on the node where the ingress runs.
        settings: settings that win over file and environment, by name.
    """

    model_config = ConfigDict(extra="forbid")

    config: Path | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Ingress:
    """The replica: the HTTP interface and the service, in one process without a GPU."""

    def __init__(self, settings: Settings) -> None:
        from serve_app.api.logs import log_to
        from serve_app.service import Service

        log_to(_log_file(settings))
        sys.setswitchinterval(SWITCH_S)
        self._settings = settings
        self._service = Service(settings)

    def __serve_build_asgi_app__(self) -> "FastAPI":
        from serve_app.api.application import create_app

        return create_app(self._settings, self._service, echo_request_id=False)  # Serve's proxy does

    async def trouble(self) -> str | None:
        """Wait until the analyzers are loaded; why they cannot be, or None."""
        await self._service.ready()
        return self._service.trouble

    async def drain(self) -> None:
        """Take no more jobs, let running ones end for a while, and close everything, event streams too.

        Serve itself waits for all requests to end before it stops a replica, and event streams do not.
        """
        await self._service.close()


def build(args: AppArgs) -> serve.Application:
    """The application, for `serve.run`, `serve run` and Serve's config file.

    Raises:
        UsageError: the address that is listened on needs an API key.
    """
    from serve_app.api.access import check_binding

    settings = load_settings(args.config, **args.settings)
    check_binding(settings)
    deployment = serve.deployment(
        name="ingress",
        num_replicas=1,  # it owns the actors and the job store's queue
        max_ongoing_requests=settings.serve.listeners_max + OTHER_REQUESTS_MAX,
        max_queued_requests=QUEUED_REQUESTS_MAX,
        graceful_shutdown_timeout_s=settings.serve.drain_s + DRAIN_EXTRA_S,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={"num_cpus": 0},
        logging_config=OWN_ACCESS_LOG,
    )(serve.ingress()(Ingress))
    return deployment.bind(settings)


def run(settings: Settings, tell: Callable[[str], None]) -> None:
    """Bring up Ray and Serve, load the analyzers, serve until SIGINT or SIGTERM, and leave in order.

    Args:
        settings: of everything.
        tell: is called with lines for the person at the terminal.

    Raises:
        UsageError: the address is taken, or needs an API key.
        PlanError: Ray or the analyzers cannot be started; the message says what to do.
    """
    from serve_app.api.access import check_binding
    from serve_app.service import lock_folder

    check_binding(settings)
    host, port = settings.serve.host, settings.serve.port
    _check_free(host, port)
    lock_folder(settings.data_dir, 0.0).close()
    stop = threading.Event()
    owns_ray = not ray.is_initialized()
    tell(f"starting Ray and {sum(1 for _ in _wanted(settings))} analyzers; the first time takes a minute")
    boot(settings.ray, dashboard=settings.serve.dashboard)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: stop.set())
    try:
        _quiet()
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(host=host, port=port, request_timeout_s=None, keep_alive_timeout_s=75),
            logging_config=OWN_ACCESS_LOG,
        )
        handle = serve.run(build(AppArgs(settings=settings.model_dump())), name=NAME, route_prefix="/")
        trouble = _until(handle.trouble.remote(), stop)
        if trouble:
            raise PlanError(trouble)
        if not stop.is_set():
            tell(f"log: {settings.data_dir / LOG}")
            tell(f"ready: http://{_shown(host)}:{port}/  (page)   http://{_shown(host)}:{port}/health")
            if settings.serve.dashboard and owns_ray:
                tell(f"Ray's dashboard: {_dashboard()}")
            stop.wait()
        tell("stopping: running jobs may end for a while, others go on at the next start")
        _until(handle.drain.remote(), threading.Event())
    finally:
        serve.shutdown()
        if owns_ray:
            from serve_app.session import stop_ray

            stop_ray()


def _until(answer: Any, stop: threading.Event) -> Any:
    """The answer of a call to the replica, or None when stopped meanwhile."""
    deadline_s = time.monotonic() + START_S_MAX
    while not stop.is_set():
        try:
            return answer.result(timeout_s=POLL_S)
        except TimeoutError:
            if time.monotonic() > deadline_s:
                raise PlanError(f"the service did not answer within {START_S_MAX:.0f} s; see Ray's logs") from None
        except ReelscopeError:
            raise
        except Exception as error:
            raise PlanError(f"the service ended: {' '.join(str(error).split())[:300]}") from error
    return None


def _log_file(settings: Settings) -> logging.Handler:
    """What the service logs, kept beside its jobs: Ray's own logs go when Ray goes."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(settings.data_dir / LOG, maxBytes=LOG_BYTES_MAX, backupCount=LOGS_KEPT, encoding="utf-8")


def _check_free(host: str, port: int) -> None:
    """A port that is taken would show as a timeout of Serve's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with --port"
            ) from None


def _wanted(settings: Settings) -> list[str]:
    from pipeline.registry import discover

    return [name for name in discover() if name not in settings.disabled]


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _dashboard() -> str:
    return f"http://{ray._private.worker._global_node.webui_url}"


def _quiet() -> None:
    """Keep Ray's and Serve's remarks on their own workings out of the terminal; what is wrong comes as our errors."""
    for name in ("ray.serve", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray._private.worker.print_to_stdstream = lambda data, **_: logger.info("%s", " ".join(data["lines"]))
