"""Codes for what yt-dlp raises: by type, and by messages that stand in the installed extractors' sources."""

from __future__ import annotations

import errno
from importlib.util import find_spec
from pathlib import Path

import pytest
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, NoSupportingHandlers, ProxyError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UnsupportedError, UserNotLive

from serve_app.fetch_errors import BY_MESSAGE, code_of_message, problem_from
from serve_app.problems import CODES, Problem

EXTRACTORS = Path(find_spec("yt_dlp").origin).parent / "extractor"  # type: ignore[union-attr, arg-type]

IN_SOURCES = [
    ("tiktok.py", "TikTok is requiring login for access to this content", "post_login_needed"),
    ("tiktok.py", "This post may not be comfortable for some audiences. Log in for access", "post_login_needed"),
    ("tiktok.py", "You do not have permission to view this post. Log into an account that has access", "post_private"),
    ("tiktok.py", "Your IP address is blocked from accessing this post", "post_geo_blocked"),
    ("tiktok.py", "Video not available, status code", "post_removed"),
    ("tiktok.py", "This livestream has ended", "post_without_video"),
    ("tiktok.py", "Unable to extract universal data for rehydration", None),
    ("tiktok.py", "Unexpected response from webpage request", None),
    ("tiktok.py", "Unable to solve JS challenge", None),
    ("instagram.py", "Restricted Video", "post_login_needed"),
    (
        "instagram.py",
        "This content is only available for registered users who follow this account",
        "post_private",
    ),
    ("instagram.py", "You have exceeded the rate-limit for accessing posts anonymously", "host_rate_limited"),
    (
        "instagram.py",
        "Instagram sent an empty media response. Check if this post is accessible in your ",
        None,
    ),
    ("instagram.py", "browser without being logged-in. If it is not, then u", "post_login_needed"),
    ("instagram.py", "There is no video in this post", "post_without_video"),
    ("youtube/_video.py", "Private video", "post_private"),
    ("youtube/_video.py", "Video unavailable", "post_removed"),
    ("youtube/_video.py", "This video is not available.", "post_removed"),
    ("youtube/_video.py", "This video does not exist.", "post_removed"),
    ("youtube/_video.py", "This video has been removed for violating YouTube", "post_removed"),
    ("youtube/_video.py", "YouTube is requiring a captcha challenge before playback", "host_rate_limited"),
    ("youtube/_video.py", "has been rate-limited by YouTube for up to an hour", "host_rate_limited"),
    ("youtube/_video.py", "Your IP is likely being blocked by Youtube", "host_rate_limited"),
    (
        "youtube/_video.py",
        "The uploader has not made this video available in your country",
        "post_geo_blocked",
    ),
    ("youtube/_video.py", "Failed to extract any player response", None),
    ("common.py", "This video is only available for registered users", "post_login_needed"),
    ("common.py", "This video is not available from your location due to geo restriction", "post_geo_blocked"),
    ("common.py", "This video is DRM protected", "post_without_video"),
    ("../YoutubeDL.py", "Requested format is not available", "post_without_video"),
    ("../YoutubeDL.py", "No suitable extractor", "url_not_allowed"),
    ("../utils/_utils.py", "The channel is not currently live", "post_without_video"),
    ("../utils/_utils.py", "Unsupported URL", "url_not_allowed"),
]
FROM_YOUTUBE = [
    ("Private video. Sign in if you've been granted access to this video", "post_private"),
    ("This video is private", "post_private"),
    ("Sign in to confirm your age. This video may be inappropriate for some users", "post_login_needed"),
    ("Sign in to confirm you’re not a bot", "post_login_needed"),
    ("Join this channel to get access to members-only content like this video", "post_login_needed"),
    ("This video requires payment to watch", "post_login_needed"),
    (
        "Video unavailable. This video is no longer available because the YouTube account associated with this video "
        "has been terminated.",
        "post_removed",
    ),
    ("This video isn't available anymore", "post_removed"),
    ("Video unavailable. This video has been removed by the uploader", "post_removed"),
    ("Video unavailable. This video is private", "post_private"),
    ("Video unavailable. The uploader has not made this video available in your country", "post_geo_blocked"),
    ("This live event will begin in 3 hours.", "post_without_video"),
    ("Premieres in 2 days", "post_without_video"),
    ("YouTube said: The playlist does not exist.", "post_removed"),
]
"""What YouTube itself answers as the reason; yt-dlp passes it on, so it stands in no source."""


@pytest.mark.parametrize(("file", "message", "code"), IN_SOURCES, ids=lambda value: str(value)[:40])
def test_a_message_of_the_sources_has_its_code(file: str, message: str, code: str | None) -> None:
    source = (EXTRACTORS / file).read_text(encoding="utf-8")
    assert message in source, f"yt-dlp's {file} no longer says so: adapt BY_MESSAGE"
    assert code_of_message(message) == code


@pytest.mark.parametrize(("message", "code"), FROM_YOUTUBE, ids=lambda value: str(value)[:40])
def test_a_reason_that_youtube_gives_has_its_code(message: str, code: str) -> None:
    assert code_of_message(message) == code


def test_every_row_is_needed_and_every_code_exists() -> None:
    decided = {code_of_message(message) for *_, message, _ in [*IN_SOURCES, *FROM_YOUTUBE]}
    assert {code for _, code in BY_MESSAGE} <= decided & CODES.keys() | {"url_not_allowed"}


class Answer:
    """What HTTPError needs of a response."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason

    def close(self) -> None:
        """Nothing is open."""


def of_status(status: int, reason: str) -> ExtractorError:
    cause = HTTPError(Answer(status, reason))
    return ExtractorError(f"Unable to download JSON metadata: {cause}", cause=cause)


def carried(error: Exception) -> DownloadError:
    """As yt-dlp raises: the error in a DownloadError that repeats its text."""
    try:
        raise error
    except Exception:
        try:
            raise DownloadError(f"ERROR: {error}", (type(error), error, None))
        except DownloadError as download_error:
            return download_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (of_status(401, "Unauthorized"), "post_login_needed"),
        (of_status(403, "Forbidden"), "post_login_needed"),
        (of_status(404, "Not Found"), "post_removed"),
        (of_status(410, "Gone"), "post_removed"),
        (of_status(429, "Too Many Requests"), "host_rate_limited"),
        (of_status(451, "Unavailable For Legal Reasons"), "post_geo_blocked"),
        (of_status(500, "Internal Server Error"), "host_unreachable"),
        (of_status(503, "Service Unavailable"), "host_unreachable"),
        (of_status(400, "Bad Request"), "extractor_broken"),
        (GeoRestrictedError("Not here. Log in", countries=["FR"]), "post_geo_blocked"),
        (UserNotLive(), "post_without_video"),
        (UnsupportedError("https://a/"), "url_not_allowed"),
        (TransportError("timed out"), "host_unreachable"),
        (IncompleteRead(5, 10), "host_unreachable"),
        (ProxyError("refused"), "host_unreachable"),
        (NoSupportingHandlers([], [OSError(errno.ENOSPC, "No space left")]), "internal"),
        (OSError(errno.EFBIG, "File too large"), "post_too_large"),
        (ExtractorError("Unable to extract title"), "extractor_broken"),
        (ExtractorError("This video is private", expected=True), "post_private"),
        (KeyError("formats"), "extractor_broken"),
        (Problem("post_too_long", "the video lasts"), "post_too_long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_error_has_its_code_bare_and_carried(error: Exception, code: str) -> None:
    assert problem_from(error, "tiktok.com").code == code
    assert problem_from(carried(error), "tiktok.com").code == code


def test_the_nearest_error_that_is_known_decides() -> None:
    error = ExtractorError("This account is private", expected=True)
    error.__context__ = HTTPError(Answer(404, "Not Found"))
    assert problem_from(error, "tiktok.com").code == "post_private"
    error = ExtractorError("Unable to extract anything")
    error.__context__ = HTTPError(Answer(404, "Not Found"))
    assert problem_from(error, "tiktok.com").code == "post_removed"


def test_the_detail_is_for_people_without_command_lines_and_secrets() -> None:
    advice = "Log in for access. Use --cookies-from-browser or --cookies. See  https://github.com/yt-dlp"
    detail = problem_from(carried(ExtractorError(advice, expected=True)), "tiktok.com").detail
    assert detail.startswith("tiktok.com: Log in for access; cookies of an account (setting fetch.cookies)")
    assert "--" not in detail
    refused = ProxyError("Unable to connect to proxy http://user:secret@10.0.0.1:8080/")
    assert "secret" not in problem_from(carried(refused), "tiktok.com").detail
