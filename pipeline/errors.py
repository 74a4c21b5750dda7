"""Every error that Reelscope raises on purpose.

ReelscopeError
├── UsageError            the request itself is wrong: an unknown analyzer, an unknown format
├── MediaError            the source cannot be analyzed at all (one line, no trace)
│   ├── MediaMissing      there is no such file
│   ├── MediaUnreadable   it is no media file that we know, or nothing in it can be decoded
│   ├── MediaLimit        it exceeds a limit; the message states the value, the limit and its setting
│   └── DecoderCrashed    the decoder's process died or stood still
├── ModelUnavailable      weights that should be there are missing or damaged; the remedy is in the message
├── NotApplicable         the analyzer's input does not exist here: the result is `skipped`, not `failed`
├── WorkerDied            a worker process died repeatedly on the same input
├── WorkerTimeout         a call took longer than the analyzer's `timeout_s`
└── PlanError             the analyzers do not fit this machine; the message says what would
"""

from __future__ import annotations


class ReelscopeError(Exception):
    """Base of all. `str(error)` is one line that says what was wrong and what to do."""


class UsageError(ReelscopeError):
    """The request is wrong."""


class MediaError(ReelscopeError):
    """The source cannot be analyzed."""


class MediaMissing(MediaError):
    """There is no such file, or it may not be read."""


class MediaUnreadable(MediaError):
    """Not a media file of a known container, or without one decodable picture or sound."""


class MediaLimit(MediaError):
    """A limit is exceeded.

    Args:
        what: the measured quantity with its unit, for example ``"width x height"``.
        value: what was found.
        limit: what is allowed.
        setting: the name of the setting that holds the limit.
    """

    def __init__(self, what: str, value: object, limit: object, setting: str) -> None:
        super().__init__(f"{what} is {value}, the limit is {limit} (setting {setting})")
        self.what, self.value, self.limit, self.setting = what, value, limit, setting

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return (type(self), (self.what, self.value, self.limit, self.setting))


class DecoderCrashed(MediaError):
    """The decoder's process ended without an answer, or gave none in time."""


class ModelUnavailable(ReelscopeError):
    """A weight file is missing or its sum is wrong."""


class NotApplicable(ReelscopeError):
    """This input has nothing for the analyzer (no sound, no weights in this profile)."""


class WorkerDied(ReelscopeError):
    """The worker's process died while it held the call, as often as a call is sent again."""


class WorkerTimeout(ReelscopeError):
    """One call took longer than `AnalyzerSpec.timeout_s`."""


class PlanError(ReelscopeError):
    """The analyzers do not fit the machine."""
