"""Which files of a post are fetched."""

from __future__ import annotations

from typing import Any

import pytest

from serve_app.fetch_formats import choose


def file(name: str, height: int | None = None, *, picture: bool = True, sound: bool = True, **more: Any) -> Any:
    return {
        "format_id": name,
        "protocol": "https",
        "ext": "mp4" if picture else "m4a",
        "vcodec": "h264" if picture else "none",
        "acodec": "aac" if sound else "none",
        "height": height,
    } | more


SOUND = file("sound", picture=False)


@pytest.mark.parametrize(
    ("formats", "chosen"),
    [
        ([file("low", 640), file("high", 1280)], ["high"]),
        ([file("low", 640), file("high", 1280), file("huge", 3840)], ["high"]),
        ([file("huge", 3840), file("larger", 5000)], ["huge"]),
        ([file("unknown")], ["unknown"]),
        ([file("unsaid", vcodec=None, acodec=None)], ["unsaid"]),
        ([SOUND, file("whole", 640), file("picture", 1920, sound=False)], ["picture", "sound"]),
        ([SOUND, file("whole", 1280), file("picture", 1920, sound=False)], ["whole"]),
        ([SOUND, file("whole", 640), file("picture", 640, sound=False)], ["whole"]),
        ([file("whole", 640), file("picture", 1920, sound=False)], ["whole"]),
        ([SOUND, file("picture", 1920, sound=False, ext="flv")], ["picture"]),
        ([file("silent", 1280, sound=False)], ["silent"]),
        ([file("pieces", 1280, protocol="m3u8_native")], ["pieces"]),
        ([file("plain", 1280, protocol="http"), file("rtmp", 1280, protocol="rtmp")], []),
        ([file("locked", 1280, has_drm=True)], []),
        ([SOUND], []),
        ([], []),
    ],
    ids=str,
)
def test_one_whole_file_is_taken_unless_apart_is_much_better(formats: list[Any], chosen: list[str]) -> None:
    assert [entry["format_id"] for entry in choose(formats, height_max=1920)] == chosen
