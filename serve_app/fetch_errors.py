"""What went wrong with a post, told from yt-dlp's errors: by their types first, then by the words of the hosts.

Only the fetching process imports this, since it imports yt-dlp.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Final

from yt_dlp.cookies import CookieLoadError
from yt_dlp.networking.exceptions import HTTPError, ProxyError, RequestError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    UnsupportedError,
    UserNotLive,
)
from yt_dlp.version import __version__

from serve_app.problems import Problem

YT_DLP: Final = f"yt-dlp {__version__}"

BY_STATUS: Final[dict[int, str]] = {
    401: "post_login_needed",
    403: "post_login_needed",
    404: "post_removed",
    410: "post_removed",
    429: "host_rate_limited",
    451: "post_geo_blocked",
}
"""Code by the HTTP status that the host answered (RFC 9110, 6585, 7725); 5xx is `host_unreachable`."""

BY_MESSAGE: Final[tuple[tuple[str, str], ...]] = (
    # Before the words for private posts and logins, which some of these hold too.
    (r"rate.?limit|captcha challenge|too many requests|IP is likely being blocked", "host_rate_limited"),
    (r"only available for registered users who follow this account", "post_private"),
    (r"do not have permission to view this post", "post_private"),
    (r"\bprivate (video|post|account)\b|(video|post|account) is private", "post_private"),
    (r"IP address is blocked from accessing this post", "post_geo_blocked"),
    (r"from your location|geo.?restrict|in your (country|region)", "post_geo_blocked"),
    (r"no video in this post|DRM protected|requested format is not available", "post_without_video"),
    (r"livestream|live event|live stream|premieres? in|not currently live", "post_without_video"),
    # YouTube opens other refusals with "Video unavailable", so what it goes on to say comes first.
    (r"sign in|log.?in|logged.in|registered users|members-only|restricted video|payment", "post_login_needed"),
    (r"no suitable extractor|unsupported URL", "url_not_allowed"),
    (r"unavailable|(is not|isn't|isn’t|no longer) available|not available, status code", "post_removed"),
    (r"(been|was) (removed|deleted)|been terminated|does not exist", "post_removed"),
)
"""Code by words in an extractor's message, in this order, whatever their case. tests/serve_app/test_fetch_errors.py
holds each row to messages in the installed extractors' sources.
"""

_ADVICE: Final = re.compile(r"\s*(?:Use --|See +https|You might want to use a VPN|It is recommended to use `)")
"""Where messages turn to yt-dlp's command line, which nobody has here."""

_REMEDY: Final[dict[str, str]] = {
    "url_not_allowed": "give the https URL of one post",
    "post_private": "an account that may see it can lend its cookies (setting fetch.cookies)",
    "post_geo_blocked": "a proxy where it is shown would reach it (setting fetch.proxies)",
    "post_login_needed": "cookies of an account (setting fetch.cookies) or another proxy may help",
    "host_rate_limited": "wait, or spread requests over proxies (setting fetch.proxies)",
    "host_unreachable": "try again later",
    "extractor_broken": f"this is {YT_DLP}; a newer version of it usually mends this",
}


def problem_from(error: BaseException, host: str) -> Problem:
    """The problem that an error of yt-dlp is.

    Args:
        error: as it left yt-dlp; causes and contexts are looked at from the outside in, and the first that is known
            decides.
        host: the post host, for the text.
    """
    errors = list(_chain(error))
    code = next(filter(None, map(_code_of, errors)), "extractor_broken")
    said = next((part for part in errors if isinstance(part, ExtractorError)), errors[-1])
    message = _said_by(said)
    detail = f"{host}: {_without_credentials(_ADVICE.split(message)[0])}"
    return Problem(code, f"{detail.rstrip('. ')}; {_REMEDY[code]}" if code in _REMEDY else detail)


def _said_by(error: BaseException) -> str:
    if isinstance(error, ExtractorError):
        return str(error.orig_msg)
    if isinstance(error, DownloadError):
        return str(error).removeprefix("ERROR: ")
    return f"{type(error).__name__}: {error}"


def code_of_message(message: str) -> str | None:
    """The code of the first row of `BY_MESSAGE` whose words are in the message."""
    return next((code for words, code in BY_MESSAGE if re.search(words, message, re.I)), None)


def _code_of(error: BaseException) -> str | None:
    match error:
        case Problem():
            return error.code
        case GeoRestrictedError():
            return "post_geo_blocked"
        case UserNotLive():
            return "post_without_video"
        case UnsupportedError():
            return "url_not_allowed"
        case HTTPError():
            return "host_unreachable" if error.status >= 500 else BY_STATUS.get(error.status)
        case TransportError() | ProxyError() | ContentTooShortError():
            return "host_unreachable"
        case CookieLoadError():
            return "internal"
        case MemoryError():
            return "extractor_broken"
        case OSError(errno=errno.EFBIG):
            return "post_too_large"
        case OSError(errno=errno.ENOSPC):
            return "internal"
        case ExtractorError(cause=RequestError()):
            return None  # its words are the HTTP status's; the cause says it
        case DownloadError(exc_info=None) | DownloadError(exc_info=(None, None, None)) | ExtractorError():
            # A DownloadError repeats the text of the error that it carries, with advice for yt-dlp's command line.
            return code_of_message(getattr(error, "orig_msg", None) or str(error))
        case RequestError():
            return code_of_message(str(error))
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came from, nearest first, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        carried = (getattr(current, "exc_info", None) or (None, None, None))[1]
        cause = getattr(current, "cause", None)
        of_handlers = getattr(current, "unexpected_errors", ())
        nearer = (current.__context__, cause, current.__cause__, carried, *of_handlers)
        waiting += [other for other in nearer if isinstance(other, BaseException)]


def _without_credentials(message: str) -> str:
    """Proxies' URLs are quoted in errors, with user and password."""
    return re.sub(r"//[^/\s@]+@", "//", message)
