"""The page's files as they are sent: its scripts and styles under a version of their own, and its two documents.

A file's address names its content (`/static/start.js?v=HASH`), so browsers keep it for good and never show an old one.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from serve_app.exports import EXPORTS
from serve_app.html_report import FOLDER as REPORT
from serve_app.html_report import PARTS, SCRIPTS, STYLE, json_for_html, plotly_script
from serve_app.problems import CODES
from serve_app.report_lanes import LANES

FOLDER: Final = Path(__file__).parent
PLOTLY: Final = "plotly.js"
PACKING: Final = 6
"""Level of gzip. 9 takes more than twice as long and saves 0.2 %."""
SCRIPT_TYPE: Final = "text/javascript; charset=utf-8"
STYLE_TYPE: Final = "text/css; charset=utf-8"
HTML_TYPE: Final = "text/html; charset=utf-8"
FILES: Final[dict[str, tuple[Path, str]]] = {
    **{name: (REPORT / name, SCRIPT_TYPE) for name in SCRIPTS},
    **{
        name: (FOLDER / name, SCRIPT_TYPE) for name in ("api.js", "jobs.js", "list.js", "start.js", "live.js", "job.js")
    },
    STYLE: (REPORT / STYLE, STYLE_TYPE),
    "page.css": (FOLDER / "page.css", STYLE_TYPE),
    "icon.svg": (FOLDER / "icon.svg", "image/svg+xml"),
}
"""What lies under /static/ beside plotly's script, and its type."""


@dataclass(frozen=True)
class Asset:
    """A file to send.

    Args:
        content: its bytes.
        media_type: with the charset of text.
        version: of its content, for its address and its ETag.
    """

    content: bytes
    media_type: str
    version: str

    @cached_property
    def packed(self) -> bytes:
        """The content compressed by gzip, once it is asked for: plotly's script takes a while."""
        return gzip.compress(self.content, PACKING, mtime=0)


@cache
def asset(name: str) -> Asset:
    """A file under /static/. Raises `KeyError` if there is none of that name."""
    if name == PLOTLY:
        return _asset(plotly_script(), SCRIPT_TYPE)
    path, media_type = FILES[name]
    return _asset(path.read_text(encoding="utf-8"), media_type)


@cache
def document(name: str) -> Asset:
    """One of the two documents, `start.html` or `job.html`. They hold no job's data."""

    def fill(place: re.Match[str]) -> str:
        what, argument = place.group(1), place.group(2)
        if what == "STATIC":
            return f"/static/{argument}?v={asset(argument).version}"
        if what == "PART":
            return (REPORT / PARTS[argument]).read_text(encoding="utf-8")
        if what == "SHARED":
            return _filled(FOLDER / argument)
        return _downloads() if what == "DOWNLOADS" else json_for_html(_words())

    def _filled(path: Path) -> str:
        return re.sub(r"\{\{([A-Z]+)(?: ([\w.]+))?\}\}", fill, path.read_text(encoding="utf-8"))

    return _asset(_filled(FOLDER / name), HTML_TYPE)


def _asset(text: str, media_type: str) -> Asset:
    content = text.encode()
    return Asset(content, media_type, hashlib.sha256(content).hexdigest()[:16])


def _downloads() -> str:
    """The formats of a result as list items; the page's script adds the job to each address."""
    item = '<li><a data-format="{}" download><b>{}</b><small>{}</small></a></li>'
    return "\n".join(
        item.format(html.escape(name), html.escape(name.upper()), html.escape(export.about))
        for name, export in EXPORTS.items()
    )


def _words() -> dict[str, object]:
    """What the page calls analyzers (title, colour group) and errors (title), by name and code."""
    return {"analyzers": LANES, "problems": {code: title for code, (_, title) in CODES.items()}}
