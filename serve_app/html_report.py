"""Writes report.html: one page that shows the video beside everything that was found in it, and needs no network.

The page is data, a style, plotly's script (from the installed package) and ours, in one file. What comes from the
video (speech, on-screen text, file names) is data: it travels as JSON with `<`, `>` and `&` escaped, and the script
sets it as text. A Content-Security-Policy names the two scripts by their hash and allows no network, no other script
and no eval.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from pipeline.results import VideoFacts, VideoReport
from serve_app.report_view import page_data

EMBED_BYTES_MAX: Final = 40_000_000
"""A larger file is linked: base64 adds a third, and browsers get slow at opening pages of more than 60 MB."""
READ_BYTES: Final = 3 * 1024 * 1024
"""A multiple of three, so that base64 pieces join without padding."""

FOLDER: Final = Path(__file__).parent
SCRIPTS: Final = ("report_base.js", "report_clock.js", "report_timeline.js", "report_panels.js")
"""What draws a report, here and on the service's page."""
START: Final = "report_start.js"
STYLE: Final = "report.css"
TEMPLATE: Final = "report_template.html"
PARTS: Final = {"STAGE": "report_stage.html", "LANES": "report_lanes.html"}
"""The markup that the scripts fill, shared with the service's page."""

Plays = Literal["yes", "some", "no"]
MP4_PICTURES: Final = {"h264", "av1", "libdav1d", "vp9", None}
MP4_SOUNDS: Final = {"aac", "mp3", "opus", "flac", None}
WEBM_PICTURES: Final = {"vp8", "vp9", "av1", "libdav1d", None}
WEBM_SOUNDS: Final = {"opus", "vorbis", None}
SOUND_FILES: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
}


@dataclass(frozen=True)
class Medium:
    """How the page gets at the video or sound.

    Args:
        kind: which element plays it.
        mime: its type, for the browser.
        plays: in every current browser, in some, or in none.
        embed: whether it lies inside the page; else `href` leads to it.
        href: the file relative to the page; None if it is embedded or not there.
        note: what to tell the reader, empty if there is nothing to tell.
    """

    kind: Literal["video", "audio"]
    mime: str
    plays: Plays
    embed: bool
    href: str | None
    note: str

    def data(self) -> dict[str, Any]:
        """As the page's script reads it."""
        return {
            "kind": self.kind, "mime": self.mime, "plays": self.plays, "embedded": self.embed, "href": self.href,
            "note": self.note,
        }  # fmt: skip


def write_html(report: VideoReport, source: Path, target: Path) -> None:
    """Write the page of a report.

    A video that browsers play is embedded up to `EMBED_BYTES_MAX`, else linked relative to `target`.

    Args:
        report: the document.
        source: the video it is about; a file that is not there any more leaves the page without a player.
        target: where to write; replaced at once when the page is complete, never left half written.

    Raises:
        OSError: `target` cannot be written, or `source` cannot be read.
    """
    medium = medium_of(report.video, source, target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as page:
            for piece in _pieces(report, source, medium):
                page.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def medium_of(video: VideoFacts, source: Path, target: Path) -> Medium:
    """Whether and how a browser can play the file. Odd variants (10 bit) the page notices itself."""
    plays, mime = playable(video)
    kind: Literal["video", "audio"] = "video" if video.has_video else "audio"
    if not source.is_file():
        return Medium(kind, mime, plays, False, None, "The video file was not there when this page was made.")
    href = link(source, target)
    note = note_of(video)
    if plays == "no":
        return Medium(kind, mime, plays, False, href, note)
    if source.stat().st_size > EMBED_BYTES_MAX:
        note = f"{note} The video is not inside this page: keep both files together.".strip()
        return Medium(kind, mime, plays, False, href, note)
    return Medium(kind, mime, plays, True, None, note)


def playable(video: VideoFacts) -> tuple[Plays, str]:
    """Which browsers play that container with those codecs, and its MIME type."""
    containers, picture, sound = set(video.container.split(",")), video.video_codec, video.audio_codec
    if not video.has_video:
        picture = None
    if "mp4" in containers:
        mime = "video/mp4" if video.has_video else "audio/mp4"
        if picture in MP4_PICTURES:
            return ("yes" if sound in MP4_SOUNDS else "some"), mime
        return ("some" if picture == "hevc" else "no"), mime
    if "webm" in containers:
        if picture in WEBM_PICTURES and sound in WEBM_SOUNDS:
            return "yes", "video/webm" if video.has_video else "audio/webm"
        known = picture in MP4_PICTURES | WEBM_PICTURES | {"hevc"}
        return ("some" if known else "no"), "video/x-matroska" if video.has_video else "audio/x-matroska"
    for container, mime in SOUND_FILES.items():
        if container in containers and not video.has_video:
            return "yes", mime
    return "no", "application/octet-stream"


def note_of(video: VideoFacts) -> str:
    """What to tell the reader about how the file plays; empty if every browser plays it."""
    plays, _ = playable(video)
    codecs = " and ".join(codec for codec in (video.video_codec, video.audio_codec) if codec)
    what = f"{codecs} in {video.container.split(',')[0]}"
    if plays == "no":
        return f"No browser plays this file ({what}). The clock below runs without it."
    return f"Not every browser plays this file ({what})." if plays == "some" else ""


def link(source: Path, target: Path) -> str:
    """The way from the page to the file, as a URL; `file:` where there is no relative way."""
    try:
        relative = os.path.relpath(source.resolve(), target.resolve().parent)
    except ValueError:  # another drive
        return source.resolve().as_uri()
    path = quote(Path(relative).as_posix())
    return path if path.startswith("../") else f"./{path}"


def json_for_html(value: Any) -> str:
    """JSON that cannot end the script element that holds it, nor a line of JavaScript."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _pieces(report: VideoReport, source: Path, medium: Medium) -> Iterator[str]:
    plotly, script = plotly_script(), "\n".join(_text(name) for name in (*SCRIPTS, START))
    name = Path(report.video.source).name or report.video.source
    data = {"name": name, "medium": medium.data(), **page_data(report)}
    filled: dict[str, str] = {
        "TITLE": html.escape(name),
        "POLICY": html.escape(policy(plotly, script, medium)),
        "STYLE": _text(STYLE),
        "DATA": json_for_html(data),
        "PLOTLY": plotly,
        "SCRIPT": script,
        **{part: _text(name) for part, name in PARTS.items()},
    }
    template = _text(TEMPLATE)
    for place, piece in enumerate(re.split(r"\{\{([A-Z]+)\}\}", template)):
        if place % 2 == 0:
            yield piece
        elif piece != "MEDIUM":
            yield filled[piece]
        elif medium.embed:
            yield from _base64(source)


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _base64(source: Path) -> Iterator[str]:
    with source.open("rb") as file:
        while block := file.read(READ_BYTES):
            yield base64.b64encode(block).decode("ascii")


def policy(plotly: str, script: str, medium: Medium) -> str:
    """The Content-Security-Policy: our two scripts, inline styles (plotly sets them), and nothing from anywhere else.

    An embedded video is played from a `blob:` of the page's own bytes; a linked one may come from beside the page.
    """
    sums = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (plotly, script)
    )
    media = "blob: data:" if medium.href is None or medium.plays == "no" else "'self' file:"
    return (
        f"default-src 'none'; script-src {sums}; style-src 'unsafe-inline'; img-src data: blob:; media-src {media}; "
        "base-uri 'none'; form-action 'none'"
    )


def plotly_script() -> str:
    """The installed plotly's script, 4.5 MB.

    Raises:
        RuntimeError: it could not stand in a script element.
    """
    from plotly.offline import get_plotlyjs  # 0.1 s that the command line need not spend at its start

    text = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")  # as the browser reads it, for the hash
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise RuntimeError("plotly's script would end its script element; another version of plotly is needed")
    return text
