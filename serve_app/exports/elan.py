"""Annotation tiers for researchers: a tab-delimited table, and ELAN's own document (EAF 3.0, EAFv3.0.xsd).

Both have the tiers of `serve_app.exports.tiers`.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from pipeline.results import VideoFacts, VideoReport
from serve_app.exports.answers import clean
from serve_app.exports.tables import harmless
from serve_app.exports.tiers import Annotation, tiers
from serve_app.html_report import playable

TSV_COLUMNS: Final = ("tier", "begin_s", "end_s", "duration_s", "value")
LINGUISTIC_TYPE: Final = "default-lt"
MIME_TYPES: Final = {"audio/wav": "audio/x-wav", "application/octet-stream": "unknown"}
"""ELAN's own names."""
SCHEMA: Final = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def write_tsv(report: VideoReport, target: Path) -> None:
    """Tier, begin, end, duration (s) and value, by tier and time; UTF-8, one line each, a line of names first.

    The format has no quotes, and readers disagree about those in values: they become typographic ones. Values that a
    spreadsheet would compute get an apostrophe, as in csv.
    """
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(TSV_COLUMNS) + "\n")
        for tier, annotations in tiers(report):
            for one in annotations:
                times = (one.begin_ms / 1000, one.end_ms / 1000, (one.end_ms - one.begin_ms) / 1000)
                value = harmless(one.value).replace('"', "”")
                file.write("\t".join([tier, *(f"{time:.3f}" for time in times), value]) + "\n")


def write_eaf(report: VideoReport, target: Path) -> None:
    """An ELAN document. It finds the video by its file name in the folder that the document lies in."""
    found = list(tiers(report))
    annotations = [one for _, tier in found for one in tier]
    times = [time for one in annotations for time in (one.begin_ms, one.end_ms)]  # slot n is times[n]
    with target.open("w", encoding="utf-8", newline="\n") as file:
        file.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<ANNOTATION_DOCUMENT AUTHOR="Reelscope" DATE="{report.created_at.isoformat()}" '
            'FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            f'xsi:noNamespaceSchemaLocation="{SCHEMA}">\n'
        )
        file.write(_header(report.video, len(annotations)))
        file.write("<TIME_ORDER>\n")
        for slot in sorted(range(len(times)), key=times.__getitem__):
            file.write(f'<TIME_SLOT TIME_SLOT_ID="ts{slot}" TIME_VALUE="{times[slot]}"/>\n')
        file.write("</TIME_ORDER>\n")
        numbers = count()
        for name, tier in found:
            file.write(f"<TIER TIER_ID={quoteattr(name)} LINGUISTIC_TYPE_REF={quoteattr(LINGUISTIC_TYPE)}>\n")
            file.writelines(_annotation(one, next(numbers)) for one in tier)
            file.write("</TIER>\n")
        file.write(
            f'<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="{LINGUISTIC_TYPE}" TIME_ALIGNABLE="true" '
            'GRAPHIC_REFERENCES="false"/>\n</ANNOTATION_DOCUMENT>\n'
        )


def _header(video: VideoFacts, annotations: int) -> str:
    """The media by their name alone: ELAN looks for them beside the document."""
    name, mime = quote(clean(PurePath(video.source).name)), playable(video)[1]
    mime = MIME_TYPES.get(mime, mime)
    return (
        '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f'<MEDIA_DESCRIPTOR MEDIA_URL="{name}" RELATIVE_MEDIA_URL="./{name}" MIME_TYPE="{mime}"/>\n'
        f'<PROPERTY NAME="lastUsedAnnotationId">{annotations}</PROPERTY>\n'
        "</HEADER>\n"
    )


def _annotation(one: Annotation, number: int) -> str:
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number + 1}" '
        f'TIME_SLOT_REF1="ts{2 * number}" TIME_SLOT_REF2="ts{2 * number + 1}">'
        f"<ANNOTATION_VALUE>{escape(one.value)}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>\n"
    )
