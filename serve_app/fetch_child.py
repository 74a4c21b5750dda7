"""The process that fetches one post: `python -m serve_app.fetch_child`, started by serve_app/fetch.py alone.

It reads one request (JSON) from its standard input and writes lines of JSON to its standard output: `progress`, then
`done` or `problem`. It runs in an empty folder of its own, limits itself, and only then listens to a host.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import BaseHandler

from yt_dlp import YoutubeDL
from yt_dlp.globals import plugin_dirs
from yt_dlp.networking._urllib import UrllibRH

from pipeline.errors import MediaError, MediaUnreadable
from pipeline.media import probe
from pipeline.results import VideoFacts
from pipeline.service_settings import MIB, FetchSettings
from pipeline.settings import Limits
from serve_app.addresses import AddressRefused, check_host, guard_connections
from serve_app.fetch import check_proxy, too_large
from serve_app.fetch_errors import YT_DLP, problem_from
from serve_app.fetch_formats import choose, join
from serve_app.problems import Problem, problem_of

PROGRESS_S: Final = 0.25
"""Shortest time between two progress lines."""
SOCKET_S: Final = 20.0
"""Longest silence of a host."""
_BLOCK_BYTES: Final = 64 * 1024
_SLACK_BYTES: Final = 1 * MIB
"""What a file may exceed the cap by before the kernel stops it, so that the exact check comes first."""
_TIME_SLACK_S: Final = 30
_NETSCAPE: Final = "cookies.txt"

Send = Callable[[str, dict[str, Any]], None]


def main() -> None:
    """Answer the one request."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up between the lines

    def send(kind: str, answer: dict[str, Any]) -> None:
        lines.write(json.dumps([kind, answer]) + "\n")

    request = json.load(sys.stdin)
    settings = FetchSettings.model_validate(request["settings"])
    host = urlsplit(request["url"]).netloc
    try:
        _limit_this_process(settings)
        _copy_inputs(settings)
        guard_connections(settings.networks_allowed, request["proxy"] and check_proxy(request["proxy"]))
        send("done", _fetch(request["url"], request["proxy"], settings, send))
        return
    except BrokenPipeError:
        return  # nobody wants it any more
    except Problem as error:
        problem = error
    except AddressRefused as error:
        problem = Problem("address_not_allowed", f"{host}: {error}")
    except MemoryError:
        limit = settings.memory_bytes_max
        problem = Problem("extractor_broken", f"{host}: more than {limit} bytes needed (fetch.memory_bytes_max)")
    except Exception as error:
        problem = problem_from(error, host)
    send("problem", {"code": problem.code, "detail": _text(problem.detail)})


def _limit_this_process(settings: FetchSettings) -> None:
    for what, wanted in (
        (resource.RLIMIT_AS, settings.memory_bytes_max),
        (resource.RLIMIT_FSIZE, settings.bytes_max + _SLACK_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (limit, limit))
    # Should the service die, nobody ends this process: then the kernel does.
    signal.alarm(math.ceil(settings.time_s_max) + _TIME_SLACK_S)


def _copy_inputs(settings: FetchSettings) -> None:
    """Cookies are copied, since yt-dlp writes them back; plugin folders are linked, since it wants their parent."""
    if settings.cookies is not None:
        Path(_NETSCAPE).write_bytes(settings.cookies.read_bytes())
    Path("plugins").mkdir()
    for number, folder in enumerate(settings.plugins):
        Path("plugins", str(number)).symlink_to(folder, target_is_directory=True)
    plugin_dirs.value = ["plugins"]


def _fetch(url: str, proxy: str | None, settings: FetchSettings, send: Send) -> dict[str, Any]:
    progress = _Progress(settings, send)
    with _PostDL(_parameters(proxy, settings, progress), settings) as post_dl:
        post_dl.check_extractors()
        info = post_dl.extract_info(post_dl.known_form(url), download=True)
    paths = [Path(part["filepath"]) for part in info.get("requested_downloads") or () if part.get("filepath")]
    if not paths:
        raise Problem("post_without_video", "the host names no video that can be downloaded")
    file = paths[0] if len(paths) == 1 else join(*paths)
    facts = _measure(file, settings)
    return {
        "file": file.name,
        "duration_s": facts.duration_s,
        "post_id": _text(info.get("id")),
        "title": _text(info.get("title")),
        "uploader": _text(info.get("uploader") or info.get("channel")),
    }


def _measure(file: Path, settings: FetchSettings) -> VideoFacts:
    """What was fetched, from its packets: hosts say wrong lengths, and send pages with the name of a video."""
    try:
        facts = probe(file, Limits(bytes_max=settings.bytes_max + _SLACK_BYTES, duration_s_max=math.inf))
    except MediaUnreadable as error:
        raise Problem("post_without_video", f"what the host sent is no video: {error}") from error
    except MediaError as error:
        raise problem_of(error) from error
    if not facts.has_video:
        raise Problem("post_without_video", "the post has sound but no moving picture")
    _check_duration(facts.duration_s, settings)
    return facts


def _check_duration(duration_s: float, settings: FetchSettings) -> None:
    limit_s = settings.duration_s_max
    if duration_s > limit_s:
        raise Problem(
            "post_too_long", f"the video lasts {duration_s:.1f} s, the limit is {limit_s:g} s (fetch.duration_s_max)"
        )


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:1000]


class _Progress:
    """yt-dlp's progress hook: counts the bytes of all files of the post, and ends the fetch that exceeds the cap."""

    def __init__(self, settings: FetchSettings, send: Send) -> None:
        self._settings, self._send = settings, send
        self._by_file: dict[str, int] = {}
        self._sent_at = -math.inf

    def __call__(self, status: dict[str, Any]) -> None:
        file, done = str(status.get("filename")), int(status.get("downloaded_bytes") or 0)
        before = sum(size for name, size in self._by_file.items() if name != file)
        self._by_file[file] = done
        announced = status.get("total_bytes")
        total = None if announced is None else before + max(int(announced), done)
        if max(before + done, total or 0) > self._settings.bytes_max:
            raise too_large(max(before + done, total or 0), self._settings)
        now = time.monotonic()
        if status.get("status") == "finished" or now - self._sent_at >= PROGRESS_S:
            self._sent_at = now
            self._send("progress", {"bytes": before + done, "total": total})


def _parameters(proxy: str | None, settings: FetchSettings, progress: _Progress) -> dict[str, Any]:
    """yt-dlp's parameters. What is not here keeps a default that writes nothing and starts nothing."""

    def refuse(info: dict[str, Any], *, incomplete: object = False) -> None:
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
            raise Problem("post_without_video", "the post is a live stream, which has no end; give it when it is over")
        if isinstance(info.get("duration"), int | float):
            _check_duration(float(info["duration"]), settings)

    def select(context: dict[str, Any]) -> Iterator[dict[str, Any]]:
        return iter(choose(context["formats"], settings.height_max))

    return {
        "allowed_extractors": [re.escape(name) for name in settings.extractors],
        "noplaylist": True,
        "match_filter": refuse,
        "format": select,
        # What browsers play and every decoder knows; then the largest picture.
        "format_sort": ["vcodec:h264", "res", "acodec:aac"],
        "progress_hooks": [progress],
        "outtmpl": "post-%(autonumber)d.%(ext)s",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
        "cachedir": False,
        "proxy": proxy or "",  # empty: none, whatever the environment says
        "cookiefile": _NETSCAPE if settings.cookies is not None else None,
        "geo_bypass": False,
        "js_runtimes": {},
        "hls_prefer_native": True,
        "fixup": "never",
        "updatetime": False,
        "socket_timeout": SOCKET_S,
        "retries": 2,
        "fragment_retries": 2,
        "extractor_retries": 1,
        "skip_unavailable_fragments": False,
        "buffersize": _BLOCK_BYTES,
        "noresizebuffer": True,
    }


class _PostDL(YoutubeDL):  # type: ignore[misc]  # yt-dlp has no types
    """yt-dlp with one way to the network, and without lists of videos."""

    def __init__(self, parameters: dict[str, Any], settings: FetchSettings) -> None:
        self._settings = settings
        super().__init__(parameters)

    def check_extractors(self) -> None:
        """Say so if the configuration names extractors that this yt-dlp does not have."""
        known = {extractor.IE_NAME.lower() for extractor in self._ies.values()}
        if missing := [name for name in self._settings.extractors if name.lower() not in known]:
            raise Problem(
                "extractor_broken",
                f"{YT_DLP} has no extractor {', '.join(missing)} (setting fetch.extractors)",
            )

    def known_form(self, url: str) -> str:
        """The URL, or with www. if only so an extractor knows it: people leave it out, TikTok's extractor does not."""
        with_www = url.replace("https://", "https://www.", 1)
        return with_www if not self._knows(url) and self._knows(with_www) else url

    def _knows(self, url: str) -> bool:
        return any(extractor.suitable(url) for extractor in self._ies.values())

    def build_request_director(self, handlers: object, preferences: object = None) -> Any:
        """Only the handler over Python's sockets: libcurl's would connect where no guard sees it."""
        return super().build_request_director([_handler(self._settings)])

    def process_ie_result(self, ie_result: Any, download: bool = True, extra_info: Any = None) -> Any:
        """As yt-dlp's, but a list of videos is no post."""
        if ie_result.get("_type") in ("playlist", "multi_video"):
            raise Problem("url_not_allowed", "the URL is a list of videos; give the URL of one post with one video")
        return super().process_ie_result(ie_result, download, extra_info)


class _HttpsOnly(BaseHandler):
    """Stands before urllib's other handlers, for first requests and redirects alike."""

    handler_order = 0

    def __init__(self, networks_allowed: list[str], proxied: bool) -> None:
        self._networks_allowed, self._proxied = networks_allowed, proxied

    def http_open(self, request: Any) -> None:
        raise AddressRefused(f"a redirect leads to {request.type}: and not to https:")

    ftp_open = data_open = file_open = http_open

    def https_open(self, request: Any) -> None:
        if self._proxied:  # then the guard sees the proxy's address and not the host's
            check_host(re.sub(r":[0-9]*$", "", request.host).strip("[]"), self._networks_allowed)


def _handler(settings: FetchSettings) -> type[UrllibRH]:
    class PostUrllibRH(UrllibRH):  # type: ignore[misc]  # yt-dlp has no types
        RH_NAME = "urllib"
        _SUPPORTED_URL_SCHEMES = ("https",)

        def _create_instance(self, proxies: Any, cookiejar: Any, legacy_ssl_support: Any = None) -> Any:
            opener = super()._create_instance(proxies, cookiejar, legacy_ssl_support)
            opener.add_handler(_HttpsOnly(settings.networks_allowed, any(proxies.values())))
            return opener

        def _make_sslcontext(self, legacy_ssl_support: Any = None) -> Any:
            context = super()._make_sslcontext(legacy_ssl_support=legacy_ssl_support)
            if settings.ca_file is not None:
                context.load_verify_locations(settings.ca_file)
            return context

    return PostUrllibRH


if __name__ == "__main__":
    main()
