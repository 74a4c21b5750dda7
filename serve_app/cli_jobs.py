"""`reelscope jobs`: what a server is working on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serve_app.command import EXIT_DONE, DebugOption, KeyFileOption, errors, guarded
from serve_app.exports import EXPORTS

SERVER = "http://127.0.0.1:8003"
ServerOption = Annotated[str, typer.Option("--server", help="URL of the server")]
JobArgument = Annotated[str, typer.Argument(metavar="ID", help="the job's id")]

jobs_app = typer.Typer(help="The jobs of a server.", no_args_is_help=True)


@jobs_app.command("list")
def jobs_list(server: ServerOption = SERVER, key_file: KeyFileOption = None, debug: DebugOption = False) -> None:
    """Show the jobs, newest first."""

    def run() -> int:
        from serve_app.remote import at_server, list_jobs

        at_server(server, key_file, list_jobs)
        return EXIT_DONE

    guarded(debug, run)


@jobs_app.command("show")
def jobs_show(
    job_id: JobArgument, server: ServerOption = SERVER, key_file: KeyFileOption = None, debug: DebugOption = False
) -> None:
    """Print how a job is, as JSON."""

    def run() -> int:
        from serve_app.remote import at_server

        job = at_server(server, key_file, lambda client: client.job(job_id))
        sys.stdout.write(job.model_dump_json(indent=1) + "\n")
        return EXIT_DONE

    guarded(debug, run)


@jobs_app.command("cancel")
def jobs_cancel(
    job_id: JobArgument, server: ServerOption = SERVER, key_file: KeyFileOption = None, debug: DebugOption = False
) -> None:
    """Stop a job that waits or runs."""

    def run() -> int:
        from serve_app.remote import at_server

        job = at_server(server, key_file, lambda client: client.cancel(job_id))
        errors.print(f"job {job.id} is {job.state}", markup=False)
        return EXIT_DONE

    guarded(debug, run)


@jobs_app.command("result")
def jobs_result(
    job_id: JobArgument,
    name: Annotated[str, typer.Option("--format", help=f"one of {', '.join(EXPORTS)}")] = "json",
    out: Annotated[Path | None, typer.Option("--out", help="the file to write; default ID with its suffix")] = None,
    server: ServerOption = SERVER,
    key_file: KeyFileOption = None,
    debug: DebugOption = False,
) -> None:
    """Write the result of a job into a file."""

    def run() -> int:
        from serve_app.remote import at_server, write_result

        path = at_server(server, key_file, lambda client: write_result(client, job_id, name, out))
        Console().print(f"  {path}", highlight=False, soft_wrap=True)
        return EXIT_DONE

    guarded(debug, run)
