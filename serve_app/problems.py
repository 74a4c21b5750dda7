"""What a caller of the service is told when something is wrong: RFC 9457 problems with stable codes.

The status belongs to HTTP, the code to programs, the detail to people. `CODES` is the list that docs/http.md shows.
"""

from __future__ import annotations

from typing import Final

from pipeline.errors import (
    DecoderCrashed,
    MediaError,
    MediaLimit,
    MediaMissing,
    MediaUnreadable,
    PlanError,
    ReelscopeError,
    UsageError,
)

CODES: Final[dict[str, tuple[int, str]]] = {
    "invalid_request": (422, "The request is not as described"),
    "unknown_analyzer": (422, "There is no such analyzer"),
    "bad_header": (400, "A header is not allowed to look like that"),
    "unauthorized": (401, "An API key is needed"),
    "forbidden_origin": (403, "Another site's page or name may not call this service"),
    "path_not_allowed": (404, "There is no such file below the media roots"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "That method does nothing here"),
    "not_acceptable": (406, "There is no such format"),
    "job_not_done": (409, "The job has no result yet"),
    "job_ended": (409, "The job has ended without a result"),
    "idempotency_conflict": (409, "The Idempotency-Key was used with another request"),
    "media_gone": (410, "The video is not kept any more"),
    "too_large": (413, "More bytes than allowed"),
    "unsupported_media_type": (415, "That content type is not understood here"),
    "range_not_satisfiable": (416, "The file ends before that range"),
    "too_slow": (408, "The upload stood still or took too long"),
    "rate_limited": (429, "Too many requests of this key"),
    "quota_exceeded": (429, "The key's daily video seconds are used up"),
    "too_many_jobs": (429, "The key has too many jobs in flight"),
    "busy": (503, "The house is full"),
    "starting": (503, "The analyzers are still loading"),
    "stopping": (503, "The service is being stopped"),
    "timed_out": (504, "The report was not ready in time; the job goes on"),
    "storage_full": (507, "The service's disk is full"),
    "internal": (500, "Something unexpected went wrong"),
    # What can be wrong with a video
    "media_missing": (422, "The file is not there"),
    "media_unreadable": (422, "The file is no video or sound that can be read"),
    "media_limit": (422, "The video exceeds a limit"),
    "decoder_crashed": (422, "The decoder did not survive the file"),
    # What can be wrong with a post
    "url_not_allowed": (422, "The URL is not one of a post host"),
    "address_not_allowed": (422, "The URL leads to an address that is not public"),
    "post_private": (422, "The post is private"),
    "post_removed": (422, "The post does not exist any more"),
    "post_geo_blocked": (422, "The post is not shown where this service runs"),
    "post_login_needed": (422, "The host shows this post to those who are logged in"),
    "post_without_video": (422, "The post has no video"),
    "post_too_long": (422, "The post's video is longer than allowed"),
    "post_too_large": (422, "The post's video is larger than allowed"),
    "host_rate_limited": (422, "The host asks to slow down"),
    "host_unreachable": (422, "The host does not answer"),
    "fetch_timed_out": (422, "Fetching took too long"),
    "extractor_broken": (422, "The host has changed and the fetcher does not understand it"),
}
"""Status and title by code."""


class Problem(ReelscopeError):
    """An error with a code that stays the same over releases.

    Args:
        code: one of `CODES`.
        detail: what was wrong here and what to do, in one line.
        retry_after_s: when trying again makes sense.
    """

    def __init__(self, code: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retry_after_s = code, detail, retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return (_remake, (type(self), self.code, self.detail, self.retry_after_s))

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CODES[self.code][0]

    @property
    def title(self) -> str:
        """What the code means, the same for every occurrence."""
        return CODES[self.code][1]


def _remake(kind: type[Problem], code: str, detail: str, retry_after_s: int | None) -> Problem:
    return kind(code, detail, retry_after_s=retry_after_s)


_MEDIA: Final[dict[type[MediaError], str]] = {
    MediaMissing: "media_missing",
    MediaUnreadable: "media_unreadable",
    MediaLimit: "media_limit",
    DecoderCrashed: "decoder_crashed",
}


def problem_of(error: BaseException) -> Problem:
    """The problem that an error of the pipeline is to a caller. Unknown ones are `internal` and tell nothing else."""
    if isinstance(error, Problem):
        return error
    for kind, code in _MEDIA.items():
        if isinstance(error, kind):
            return Problem(code, str(error))
    if isinstance(error, UsageError):
        return Problem("invalid_request", str(error))
    if isinstance(error, PlanError):
        return Problem("internal", str(error))
    return Problem("internal", "an unexpected error; the service's log has it under this request's id")
