"""The command line: `reelscope analyze|serve|jobs|models|plan|doctor`. Heavy imports happen inside the commands.

Exit codes: 0 done; 1 the video could not be analyzed; 2 wrong usage; 3 done, but with failed analyzers.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

from serve_app.cli_jobs import jobs_app
from serve_app.command import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTIAL,
    ConfigOption,
    DebugOption,
    KeyFileOption,
    ModelsDirOption,
    ProfileOption,
    effective_settings,
    errors,
    guarded,
    names_in,
    usage,
)
from serve_app.exports import EXPORTS, Export, export, export_named

if TYPE_CHECKING:
    from pipeline.results import VideoReport
    from pipeline.settings import Settings

FORMATS = tuple(name for name in EXPORTS if name != "json")

app = typer.Typer(
    name="reelscope",
    help="Watches a short video and writes down everything in it on one clock.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The weights that analyzers use: where from, how large, which licence, present or not.")
app.add_typer(models_app, name="models")
app.add_typer(jobs_app, name="jobs")


@app.command()
def analyze(
    source: Annotated[str, typer.Argument(help="path of a video or sound file, or https URL of a post")],
    analyzers: Annotated[
        str | None, typer.Option("--analyzers", help="names, separated by commas; default all")
    ] = None,
    profile: ProfileOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for report.json; default out/NAME")] = None,
    formats: Annotated[str | None, typer.Option("--format", help=f"more formats: {', '.join(FORMATS)}")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report instead of the summary")] = False,
    local: Annotated[bool, typer.Option("--local", help="run in this process, without Ray")] = False,
    server: Annotated[str | None, typer.Option("--server", help="URL of a server that does the work")] = None,
    key_file: KeyFileOption = None,
    config: ConfigOption = None,
    models_dir: ModelsDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Analyze one video, here or on a server."""

    def run() -> int:
        wanted = [export_named(name) for name in dict.fromkeys(["json", *(names_in(formats) or ())])]
        with TemporaryDirectory(prefix="reelscope-") as folder:
            scratch, names = Path(folder), names_in(analyzers)
            if server is None:
                settings = effective_settings(config, profile=profile, models_dir=models_dir)
                report, fetched = asyncio.run(_run(settings, source, names, local, scratch))
            else:
                from serve_app.remote import analyze_there

                if local or profile or config or models_dir:
                    raise usage("--local, --profile, --config and --models-dir are the server's own to choose")
                media_folder = scratch if any(one.name == "html" for one in wanted) else None
                report, fetched = analyze_there(server, key_file, source, names, media_folder)
            medium = fetched if "://" in source else Path(source).expanduser()
            return _write(report, medium, out or Path("out") / _name_of(source), wanted, scratch, as_json)

    guarded(debug, run)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option("--host", help="address; one beyond loopback needs a key")] = None,
    port: Annotated[int | None, typer.Option("--port", help="port to listen on")] = None,
    profile: ProfileOption = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="jobs, reports and media")] = None,
    config: ConfigOption = None,
    models_dir: ModelsDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Serve the page and the HTTP interface on this machine, until Ctrl-C."""

    def run() -> int:
        from serve_app.app import run as serve_until_stopped

        settings = effective_settings(config, profile=profile, models_dir=models_dir, data_dir=data_dir)
        given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=given)})
        serve_until_stopped(settings, lambda line: errors.print(line, markup=False))
        return EXIT_DONE

    guarded(debug, run)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="whose key it is: letters, digits, hyphens, underscores")],
    debug: DebugOption = False,
) -> None:
    """Make an API key, and the lines that let the service know it. The key is shown this once."""

    def run() -> int:
        from serve_app.api.keys import is_name, new_key

        if not is_name(name):
            raise usage(f"a key's name is 1 to 64 letters, digits, hyphens and underscores, got {name!r}")
        secret, sha256 = new_key()
        sys.stdout.write(
            f"the key, shown this once: {secret}\n\nfor the file that --config or REELSCOPE_CONFIG names:\n\n"
        )
        sys.stdout.write(f'[access.keys.{name}]\nsha256 = "{sha256}"\n')
        return EXIT_DONE

    guarded(debug, run)


@models_app.command("list")
def models_list(config: ConfigOption = None, models_dir: ModelsDirOption = None, debug: DebugOption = False) -> None:
    """Show each model, its source, size, licence and whether it is there."""

    def run() -> int:
        from analyzers.models.hub_store import HubStore
        from analyzers.models.store import ModelStore
        from serve_app.models import chosen_hub_models
        from serve_app.tables import hub_table, models_table

        settings = effective_settings(config, models_dir=models_dir)
        Console().print(models_table(ModelStore(settings.models_dir).entries()))
        Console().print(hub_table(HubStore(settings.models_dir).entries(), chosen_hub_models(settings)))
        return EXIT_DONE

    guarded(debug, run)


@models_app.command("fetch")
def models_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="models; default all of the profile")] = None,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    models_dir: ModelsDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Download and verify what is missing. Without names: what the settings use in the profile."""

    def run() -> int:
        from analyzers.models.store import ModelStore
        from serve_app.models import fetch

        settings = effective_settings(config, models_dir=models_dir, profile=profile)
        store = ModelStore(settings.models_dir)
        fetched = fetch(settings, store, names, errors)
        errors.print(f"fetched {', '.join(fetched)}" if fetched else "everything was there", f"in {store.models_dir}")
        return EXIT_DONE

    guarded(debug, run)


@models_app.command("verify")
def models_verify(
    profile: ProfileOption = None,
    config: ConfigOption = None,
    models_dir: ModelsDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Check the sha256 of every file. Exits 1 if one is damaged, or what the profile uses is missing."""

    def run() -> int:
        from analyzers.models.hub_store import HubStore
        from analyzers.models.store import ModelStore
        from serve_app.models import all_there, chosen_hub_models
        from serve_app.tables import hub_table, models_table

        settings = effective_settings(config, models_dir=models_dir, profile=profile)
        entries, hub = ModelStore(settings.models_dir).verify(), HubStore(settings.models_dir).verify()
        Console().print(models_table(entries))
        Console().print(hub_table(hub, chosen_hub_models(settings)))
        return EXIT_DONE if all_there(settings, entries, hub) else EXIT_FAILED

    guarded(debug, run)


@app.command()
def plan(
    analyzers: Annotated[
        str | None, typer.Option("--analyzers", help="names, separated by commas; default all")
    ] = None,
    cpus: Annotated[
        float | None, typer.Option("--cpus", help="plan for this many cores instead of this machine's")
    ] = None,
    gpus: Annotated[str | None, typer.Option("--gpus", help="plan for GPUs of these GB, for example 24,24")] = None,
    fit: Annotated[bool, typer.Option("--fit", help="print the settings under which it fits, for --config")] = False,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show how the analyzers share this machine, or another one. What does not fit comes with what would."""

    def run() -> int:
        from analyzers.models.hub import smaller
        from cluster.advice import advise, toml, with_advice
        from cluster.plan import plan_for
        from pipeline.errors import PlanError
        from pipeline.graph import Graph
        from pipeline.registry import discover, specs_of
        from serve_app.doctor import this_machine
        from serve_app.tables import plan_table

        settings = effective_settings(config, profile=profile)
        try:
            sizes = tuple(float(size) for size in gpus.split(",")) if gpus else None
        except ValueError:
            raise usage(f"--gpus takes sizes in GB separated by commas, got {gpus!r}") from None
        found = discover()
        names = Graph(specs_of(found, settings).values()).closure(names_in(analyzers)).names
        classes = {name: found[name] for name in names if name not in settings.disabled}
        machine = this_machine(cpus, sizes)
        try:
            table = plan_table(plan_for(specs_of(classes, settings), machine, settings))
        except PlanError as error:
            advice = advise(classes, settings, machine, smaller) if fit else None
            if advice is None:
                raise with_advice(error, classes, settings, machine, smaller) from None
            settings = advice.settings
            table = plan_table(advice.plan)
        if fit:
            sys.stdout.write(toml(settings))
        else:
            Console().print(table)
        return EXIT_DONE

    guarded(debug, run)


@app.command()
def doctor(
    profile: ProfileOption = None,
    config: ConfigOption = None,
    models_dir: ModelsDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Say what is missing on this machine, each with its remedy, and print the effective settings."""

    def run() -> int:
        from serve_app.doctor import examine
        from serve_app.tables import doctor_table, settings_table

        settings = effective_settings(config, models_dir=models_dir, profile=profile)
        findings = examine(settings)
        console = Console()
        console.print(doctor_table(findings))
        console.print(settings_table(settings))
        return EXIT_DONE if all(finding.ok or not finding.needed for finding in findings) else EXIT_FAILED

    guarded(debug, run)


def main() -> None:
    """The console script."""
    app()


def _name_of(source: str) -> str:
    """What the folder of a video is called."""
    if "://" not in source:
        return Path(source).stem
    url = urlsplit(source)
    return re.sub(r"[^\w-]+", "_", Path(url.path).stem or url.netloc)


def _write(
    report: VideoReport, medium: Path | None, folder: Path, wanted: list[Export], scratch: Path, as_json: bool
) -> int:
    """Write every wanted format, and beside a page the video that is nowhere else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if medium is not None and medium.parent == scratch and any(one.name == "html" for one in wanted):
            medium = Path(shutil.move(medium, folder / medium.name))
        written = [export(report, one.name, folder / f"report{one.suffix}", medium) for one in wanted]
    except OSError as error:
        raise usage(f"{folder} cannot be written: {error.strerror or error}") from None
    if as_json:
        sys.stdout.write(written[0].read_text(encoding="utf-8"))
    else:
        from serve_app.tables import report_table

        console = Console()
        console.print(report_table(report))
        for path in written:
            console.print(f"  {path}", highlight=False, soft_wrap=True)
    return EXIT_PARTIAL if report.statuses()["failed"] else EXIT_DONE


async def _run(
    settings: Settings, source: str, analyzers: list[str] | None, local: bool, scratch: Path
) -> tuple[VideoReport, Path | None]:
    """The report; and of a post the file, which is fetched into `scratch`."""
    from pipeline.results import VideoReport
    from serve_app.progress import analysis_progress
    from serve_app.session import Session

    session = Session(settings, analyzers=analyzers, local=local)
    fetched: Path | None = None
    if "://" in source:
        from serve_app.remote import fetch_here

        fetched = await fetch_here(settings.fetch, source, scratch)
    facts = await session.probe(fetched or source)  # before anything is started: a bad file is refused at once
    report: VideoReport | None = None
    with analysis_progress(facts, session.graph.closure(analyzers).names) as show:
        async with session:
            await session.ready()
            async with aclosing(session.stream(facts, analyzers)) as events:
                async for event in events:
                    show(event)
                    if isinstance(event, VideoReport):
                        report = event
    assert report is not None
    if fetched is not None:
        report = report.model_copy(update={"video": report.video.model_copy(update={"source": source})})
    return report, fetched


if __name__ == "__main__":
    main()
