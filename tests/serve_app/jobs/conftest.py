"""Databases of both kinds, and services that are closed when a test ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from pipeline.settings import Settings
from serve_app.jobs.service import JobService
from tests.serve_app.jobs.scripted import ScriptedAnalysis, ScriptedFetcher

Services = Callable[..., Awaitable[JobService]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The socket folder of a PostgreSQL of our own, which is gone afterwards."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.skip("waits for Debian's package postgresql: no initdb below /usr/lib/postgresql")
    programs, user = found[-1].parent, "postgres"
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short, since a socket's path may have 107 characters
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, user)
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]

    def call(program: str, *args: str) -> None:
        subprocess.run([*as_user, programs / program, *args], check=True, capture_output=True, cwd="/", timeout=60)

    data = str(folder / "data")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=40"
    try:
        call("initdb", "-D", data, "-U", "reelscope", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield folder
        finally:
            call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    folder, name = request.getfixturevalue("postgres"), f"t{uuid4().hex}"
    with psycopg.connect(f"host={folder} user=reelscope dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"postgresql+psycopg://reelscope@/{name}?host={folder}"


@pytest.fixture
def analysis() -> ScriptedAnalysis:
    return ScriptedAnalysis()


@pytest.fixture
def fetcher() -> ScriptedFetcher:
    return ScriptedFetcher()


@pytest.fixture
async def serving(analysis: ScriptedAnalysis, fetcher: ScriptedFetcher) -> AsyncIterator[Services]:
    """Starts services over the test's analysis and fetcher."""
    started: list[JobService] = []

    async def start(settings: Settings, *, begin: bool = True, **parts: Any) -> JobService:
        service = JobService(settings, parts.pop("analysis", analysis), parts.pop("fetcher", fetcher), **parts)
        started.append(service)
        await service.start()
        if begin:
            service.begin()
        return service

    yield start
    for service in started:
        await service.close()
