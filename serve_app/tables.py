"""Tables that the command line prints."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Column, Table

from cluster.plan import GPU_USABLE
from pipeline.results import AnalyzerResult, VideoReport

if TYPE_CHECKING:
    from analyzers.models.hub_store import HubEntry
    from analyzers.models.manifest import Source
    from analyzers.models.store import Entry
    from cluster.plan import Plan
    from pipeline.settings import Settings
    from serve_app.doctor import Finding

MARKS = {"ok": "[green]ok[/]", "failed": "[red]failed[/]", "skipped": "[yellow]skipped[/]"}
STATES = {"present": "[green]present[/]", "missing": "[yellow]missing[/]", "damaged": "[red]damaged[/]"} | {
    "local": "[green]local[/]",
    "partial": "[yellow]partial[/]",
}
VALUE_CHARS_MAX = 60


def report_table(report: VideoReport) -> Group:
    """The result of a run: what each analyzer says, and what it cost."""
    table = Table("analyzer", "", "busy", "what it says", title_justify="left", expand=False)
    for result in report.analyzers.values():
        says = "[red]random weights, no answer[/]" if result.is_random else escape(headline(result))
        table.add_row(result.name, MARKS[result.status], f"{result.timing.busy_s:.1f} s", says)
    video, run = report.video, report.run
    size = f"{video.width}x{video.height} {video.fps:.3g} fps {video.video_codec}" if video.has_video else "no picture"
    sound = f"{video.audio_codec}" if video.has_audio else "no sound"
    loss = f", {video.bad_packets} damaged packets skipped" if video.bad_packets else ""
    facts = f"{video.source}: {video.duration_s:.2f} s, {size}, {sound}{loss}"
    cost = (
        f"{run.wall_s:.1f} s = {run.rtf:.2f} x the video's length, cores {run.overlap:.0%} useful, "
        f"decoded {run.decode_passes} time(s) in {run.decode_s:.1f} s"
    )
    if report.coverage is not None:
        cost += f"; {report.coverage.score:.0f} % of it could be told again (coverage)"
    return Group(escape(facts), table, cost)


def headline(result: AnalyzerResult) -> str:
    """One line of what an analyzer found, from its summary; or why it found nothing."""
    if result.report is None:
        return result.reason or ""
    found = [f"{name} {_short(value)}" for name, value in result.report["summary"].items() if _says_something(value)]
    return ", ".join(found[:4]) or f"{len(result.report['segments'])} segments"


def _says_something(value: Any) -> bool:
    return value is not None and value != [] and value != {} and value != ""


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return _clip(" ".join(f"{name} {_short(inner)}" for name, inner in value.items()))
    if isinstance(value, list):
        names = [item["name"] for item in value if isinstance(item, dict) and "name" in item]
        return _clip(", ".join(names)) if names else f"({len(value)})"
    return _clip(" / ".join(str(value).splitlines()))


def _clip(text: str) -> str:
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"


def models_table(entries: Sequence[Entry]) -> Table:
    """What weights there are."""
    table = Table(Column("model", no_wrap=True), "", box=box.SIMPLE)
    for entry in entries:
        model = entry.model
        licence, sources = escape(model.licence), "; ".join(_source(source) for source in model.sources)
        about = f"{model.bytes / 1e6:.1f} MB, {licence}, profile {model.profile}"
        detail = f"\n{escape(entry.detail)}" if entry.detail else ""
        text = f"{about}\nfor {', '.join(model.used_by)}\nfrom {sources}{detail}"
        table.add_row(f"{model.name}\n{STATES[entry.state]}", text)
    return table


def hub_table(entries: Sequence[HubEntry], chosen: Collection[str]) -> Table:
    """The hub models of the full profile; a star marks those that the settings use."""
    title = "full profile, from the model hub (* used by the present settings)"
    table = Table(Column("model", no_wrap=True), "", box=box.SIMPLE, title=title, title_justify="left")
    for entry in entries:
        model = entry.model
        detail = f"\n{escape(entry.detail)}" if entry.detail else ""
        terms = escape(model.licence) + ("" if model.commercial else ", [red]not for commercial use[/]")
        size = f"{entry.bytes / 1e9:.1f} GB" if entry.bytes >= 1e9 else f"{entry.bytes / 1e6:.0f} MB"
        pinned = entry.revision or model.revision
        about = f"{size}, {model.parameters / 1e9:.2g} B parameters, {terms}"
        source = f"{model.id} at {pinned[:12]}" if pinned else f"{model.id}, newest (not pinned yet)"
        mark = "*" if model.name in chosen else " "
        text = f"{about}\nfor {', '.join(model.used_by)}\nfrom {source}{detail}"
        table.add_row(f"{mark} {model.name}\n  {STATES[entry.state]}", text)
    return table


def _source(source: Source) -> str:
    if source.kind == "hub":
        return f"{source.id} at {source.revision[:12]}"
    if source.kind == "installed":
        return f"{source.package} {source.version} (installed)"
    return f"{source.kind}: {', '.join(package.label for package in source.packages)}"


def plan_table(plan: Plan) -> Group:
    """How the analyzers share a machine."""
    gpus = ", ".join(f"{size:.0f} GB" for size in plan.machine.gpus_gb) or "none"
    head = f"{plan.machine.cpus:g} CPUs, GPUs: {gpus}; {plan.decode_cpus:g} CPUs for each decode stream"
    table = Table(Column("analyzer", no_wrap=True), "process", "replicas", "CPUs", "GPU GB", "on GPU", box=box.SIMPLE)
    numbered = [*enumerate(plan.processes, 1)]
    process_of = {name: number for number, process in reversed(numbered) for name in process.names}
    for name, share in sorted(plan.shares.items(), key=lambda item: process_of[item[0]]):
        gpu = (f"{share.gpu_gb:.1f}", _devices(share.gpus)) if share.gpus else ("", "")
        cells = (process_of[name], share.replicas, f"{share.cpus:.2g}", *gpu)
        table.add_row(name, *(str(cell) for cell in cells))
    if not plan.machine.gpus_gb:
        return Group(head, table)
    left = ", ".join(f"{room:.1f}" for room in plan.free_gb())
    return Group(head, table, f"GB free on each GPU, of the {GPU_USABLE:.0%} that are planned with: {left}")


def _devices(gpus: Sequence[int]) -> str:
    """GPUs in few characters: 3, or 0, 2, or 0-7."""
    first, last = min(gpus), max(gpus)
    if last - first > 1 and len(set(gpus)) == last - first + 1:
        return f"{first}-{last}"
    return ", ".join(str(index) for index in sorted(gpus))


def doctor_table(findings: Sequence[Finding]) -> Table:
    """What was looked at, and what to do."""
    table = Table("", "", "found", "remedy")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]missing[/]" if finding.needed else "[yellow]note[/]"
        table.add_row(finding.what, mark, escape(finding.found), "" if finding.ok else escape(finding.remedy))
    return table


def settings_table(settings: Settings) -> Table:
    """The effective settings, one a row. Passwords in URLs, and secrets, are not shown."""
    table = Table("setting", "value")

    def add(prefix: str, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, dict) and value:
                add(f"{prefix}{name}.", value)
            else:
                table.add_row(prefix + name, escape(_shown(name, value)))

    add("", settings.model_dump(mode="json"))
    return table


def _shown(name: str, value: Any) -> str:
    if name.endswith("secret") and value is not None:
        return "(set)"
    return re.sub(r"(?<=://)[^/@\s]+@", "…@", str(value))
