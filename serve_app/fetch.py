"""Fetches a post's video: yt-dlp in a process of its own, for the hosts that are configured and no others.

The URL is checked here before anything is asked of the network; the process (serve_app/fetch_child.py) is held to
public addresses, to a time, to a size and to a memory, and what it leaves is looked at before it is believed. What a
host says (titles, names) is data: clipped, without control characters.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pipeline.errors import UsageError
from pipeline.service_settings import FetchSettings
from serve_app.addresses import networks_of
from serve_app.problems import CODES, Problem

Progress = Callable[[int, int | None], None]
"""Bytes so far, and bytes in all where the host has told."""

URL_CHARACTERS_MAX: Final = 2048
PROXY_SCHEMES: Final = ("http", "socks4", "socks4a", "socks5", "socks5h")
_TITLE_MAX, _NAME_MAX, _DETAIL_MAX = 300, 120, 500
_ERRORS: Final = "errors.txt"
_LAST_WORDS_BYTES: Final = 4096
_LINE_BYTES_MAX: Final = 64 * 1024
_URL: Final = re.compile(r"https://(?P<host>[a-z0-9.-]{1,253})(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?].*)?", re.I | re.A)
_FILE: Final = re.compile(r"[a-z0-9-]{1,20}\.[a-z0-9]{1,5}")
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, and those that turn the direction of text or break lines."""
_REFUSED_EXTRACTORS: Final = {"generic", "all", "default", "end"}
_PASSED_ON: Final = ("LD_LIBRARY_PATH",)
"""What the child needs of this environment to start at all. Proxies, configuration folders and keys stay here."""


@dataclass(frozen=True)
class Fetched:
    """A post's video on disk.

    Attributes:
        path: the file, in the folder that was asked for.
        url: the post's, normalised.
        host: the entry of `fetch.hosts` that it belongs to.
        post_id, title, uploader: as the host says, clipped; empty or None where it does not.
        bytes: size of the file.
        duration_s: length in seconds, from the file's packets.
    """

    path: Path
    url: str
    host: str
    post_id: str
    title: str
    uploader: str | None
    bytes: int
    duration_s: float


def check_url(url: str, settings: FetchSettings) -> str:
    """The normalised URL of a post: https, host in lower case, without port 443 and without fragment.

    The grammar is RFC 3986's, read strictly: what some parsers would repair is refused, since two parsers that repair
    differently see two hosts.

    Raises:
        Problem: `url_not_allowed`, with the reason.
    """
    url = url.strip(" ")
    if len(url) > URL_CHARACTERS_MAX:
        raise _not_allowed(f"it has {len(url)} characters, the limit is {URL_CHARACTERS_MAX}")
    if any(character <= " " or character in '\\"<>^`{|}\x7f' for character in url) or _UNSEEN.search(url):
        raise _not_allowed("it holds a space, a control character or another character that no URL has")
    if not url.lower().startswith("https://"):
        raise _not_allowed("it does not begin with https://")
    match = _URL.fullmatch(url.partition("#")[0])
    if match is None:
        raise _not_allowed("its host is not a plain name")
    host, port = match["host"].lower(), int(match["port"] or 443)
    entry = next((entry for entry in settings.hosts if _belongs(host, port, entry)), None)
    if entry is None:
        raise _not_allowed(f"its host {host}:{port} is none of {', '.join(settings.hosts)} (fetch.hosts)")
    authority = host if port == 443 else f"{host}:{port}"
    rest = quote(match["rest"] or "/", safe="%/?:@!$&'()*+,;=~[]-._")
    return f"https://{authority}{rest if rest.startswith('/') else '/' + rest}"


def _not_allowed(reason: str) -> Problem:
    return Problem("url_not_allowed", f"the URL is not fetched: {reason}; give the https URL of one post")


def _belongs(host: str, port: int, entry: str) -> bool:
    """Whether a host is the entry's or a subdomain of it. An entry may name a port; otherwise it is 443."""
    name, _, entry_port = entry.lower().partition(":")
    labels = host.split(".")
    plain = all(labels) and not any(label.startswith("xn--") for label in labels)
    return plain and port == int(entry_port or 443) and (host == name or host.endswith("." + name))


def host_of(url: str, entries: Sequence[str]) -> str | None:
    """The first of the entries (as in `fetch.hosts`) that a checked URL belongs to."""
    parts = urlsplit(url)
    return next((entry for entry in entries if _belongs(parts.hostname or "", parts.port or 443, entry)), None)


def clip(text: object, characters: int) -> str:
    """What a host says, in one line of at most so many characters."""
    line = " ".join(_UNSEEN.sub(" ", str(text or "")).split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


class Fetcher:
    """Fetches posts, any number at once, each in its own process.

    Args:
        settings: checked here, so that a mistake shows at the start and not at the first post.

    Raises:
        UsageError: a setting cannot work; the message names it.
    """

    def __init__(self, settings: FetchSettings) -> None:
        _check_settings(settings)
        # The child runs in another folder.
        paths = {
            "plugins": [folder.absolute() for folder in settings.plugins],
            "cookies": settings.cookies and settings.cookies.absolute(),
            "ca_file": settings.ca_file and settings.ca_file.absolute(),
        }
        self._settings = settings.model_copy(update=paths)
        self._proxies: Iterator[str | None] = itertools.cycle(settings.proxies or [None])

    async def fetch(self, url: str, folder: Path, on_progress: Progress | None = None) -> Fetched:
        """Fetch one post's video into a folder, as `post.mp4` or with the suffix that fits.

        Cancelling ends the process and removes what it wrote; so does every error.

        Args:
            url: as a user gave it.
            folder: made if it is not there.
            on_progress: called in the event loop, a few times a second at most.

        Raises:
            Problem: one of the codes that docs/fetching.md lists.
        """
        url = check_url(url, self._settings)
        host = host_of(url, self._settings.hosts) or ""
        folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - one call of the kernel, as those below
        with TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
            request = {
                "url": url,
                "proxy": self._proxy_for(url),
                "settings": self._settings.model_dump(mode="json"),
            }
            limit_s = self._settings.time_s_max
            try:
                async with asyncio.timeout(limit_s):
                    answer = await _ask(request, Path(work), on_progress)
            except TimeoutError:
                raise Problem(
                    "fetch_timed_out", f"{host} took longer than {limit_s:g} s (setting fetch.time_s_max)"
                ) from None
            return self._take(answer, Path(work), folder, url, host)

    def _proxy_for(self, url: str) -> str | None:
        host = host_of(url, list(self._settings.host_proxies))
        return next(self._proxies) if host is None else self._settings.host_proxies[host] or None

    def _take(self, answer: dict[str, Any], work: Path, folder: Path, url: str, host: str) -> Fetched:
        """Look at the file that the child named, and move it out of its folder."""
        name = str(answer["file"])
        source = work / name
        facts = source.lstat() if _FILE.fullmatch(name) else None
        if facts is None or not stat.S_ISREG(facts.st_mode):
            raise Problem("extractor_broken", f"the fetching process named {clip(name, 80)!r}, which is no file of it")
        if facts.st_size > self._settings.bytes_max:
            raise too_large(facts.st_size, self._settings)
        path = folder / f"post{source.suffix}"
        source.replace(path)
        return Fetched(
            path=path,
            url=url,
            host=host,
            post_id=clip(answer.get("post_id"), _NAME_MAX),
            title=clip(answer.get("title"), _TITLE_MAX),
            uploader=clip(answer.get("uploader"), _NAME_MAX) or None,
            bytes=facts.st_size,
            duration_s=float(answer["duration_s"]),
        )


def too_large(size: int, settings: FetchSettings) -> Problem:
    """The problem of a video of at least `size` bytes."""
    limit = settings.bytes_max
    return Problem("post_too_large", f"the video has at least {size} bytes, the limit is {limit} (fetch.bytes_max)")


async def _ask(request: dict[str, Any], work: Path, on_progress: Progress | None) -> dict[str, Any]:
    """Run the child on one request: what it answers at its end, or the problem that it reports."""
    async with _child(work) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended already; how, is said below
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
            await process.stdin.wait_closed()
        while line := await _line(process.stdout):
            kind, answer = _message(line)
            if kind == "progress" and on_progress is not None:
                on_progress(int(answer["bytes"]), None if answer["total"] is None else int(answer["total"]))
            elif kind == "done":
                return answer
            elif kind == "problem":
                code = answer["code"] if answer["code"] in CODES else "extractor_broken"
                raise Problem(code, clip(answer["detail"], _DETAIL_MAX))
        code = await process.wait()
    ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise Problem(
        "extractor_broken",
        f"the fetching process ended without an answer ({ending}){_last_words(work)}; the machine may be out of memory "
        f"(a fetch may use {request['settings']['memory_bytes_max']} bytes, setting fetch.memory_bytes_max)",
    )


def _last_words(work: Path) -> str:
    with (work / _ERRORS).open("rb") as errors:
        errors.seek(max(0, os.fstat(errors.fileno()).st_size - _LAST_WORDS_BYTES))
        lines = errors.read().decode(errors="replace").splitlines()
    return f", having said: {clip(lines[-1], 200)}" if lines else ""


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or nothing at the end, which a line that is too long counts as."""
    try:
        return await stream.readline()
    except ValueError:
        return b""


def _message(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        kind, answer = json.loads(line)
        return str(kind), dict(answer)
    except (ValueError, TypeError):
        return "", {}


@asynccontextmanager
async def _child(work: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The fetching process; at the end of the block it and all that it started are gone."""
    with (work / _ERRORS).open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # modules come from where ours do, never from the folder with the host's files
            "-m",
            "serve_app.fetch_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=work,
            env=_environment(work),
            start_new_session=True,
            limit=_LINE_BYTES_MAX,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):  # it ended in this moment
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(work: Path) -> dict[str, str]:
    home = str(work)
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        "HOME": home,
        "TMPDIR": home,
        "XDG_CONFIG_HOME": home,
        "XDG_CACHE_HOME": home,
        "LANG": "C.UTF-8",
        # Numeric libraries reserve address space for each thread, which counts against the memory limit.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _check_settings(settings: FetchSettings) -> None:
    try:
        networks_of(settings.networks_allowed)
    except ValueError as error:
        raise UsageError(f"fetch.networks_allowed: {error}") from error
    if refused := [name for name in settings.extractors if name.lower() in _REFUSED_EXTRACTORS]:
        raise UsageError(f"fetch.extractors: {', '.join(refused)} would take any site; name single extractors")
    for host in (*settings.hosts, *settings.host_proxies):
        if re.fullmatch(r"[a-zA-Z0-9.-]+(:[0-9]{1,5})?", host) is None:
            raise UsageError(f"fetch.hosts: {host!r} is not a host name, or one with :port")
    for proxy in (*settings.proxies, *filter(None, settings.host_proxies.values())):
        check_proxy(proxy)
    for name, path in (("cookies", settings.cookies), ("ca_file", settings.ca_file)):
        if path is not None and not os.access(path, os.R_OK):
            raise UsageError(f"fetch.{name}: {path} cannot be read")
    for folder in settings.plugins:
        if not (folder / "yt_dlp_plugins").is_dir():
            raise UsageError(f"fetch.plugins: {folder} has no folder yt_dlp_plugins")


def check_proxy(proxy: str) -> tuple[str, int]:
    """A proxy's host and port. The message never shows its user and password.

    Raises:
        UsageError: it is no URL of a proxy.
    """
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme not in PROXY_SCHEMES:
        raise UsageError(f"fetch.proxies: a proxy is scheme://host:port with a scheme of {', '.join(PROXY_SCHEMES)}")
    return host, port
