"""Receives a video as multipart/form-data (RFC 7578), straight to a file, hashed on the way."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import tempfile
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import Request
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipeline.settings import Settings
from serve_app.api.bodies import chunks, too_large
from serve_app.api.names import NAMELESS, clean_name
from serve_app.api.problems import InvalidRequest, invalid
from serve_app.problems import Problem
from serve_app.schemas import Wanted

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FRAME_BYTES_MAX: Final = 64 * 1024
"""What a form may have beside the video: boundaries, part headers, fields."""
PARTS_MAX: Final = 80
"""The file, an analyzer's name in each of 64 parts, and some to spare."""
WRITE_BYTES: Final = 1024 * 1024
"""Handed to a thread at once, to be hashed and written: little enough to hold, enough to be worth it."""
_FIELDS: Final = ("analyzers", "webhook_url")
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upload:
    """A video that was received.

    Args:
        path: where it lies; gone when the context ends, unless somebody has moved it.
        name: what the caller called it, cleaned.
        sha256: of its bytes, in hex.
        wanted: the form's other fields.
    """

    path: Path
    name: str
    sha256: str
    wanted: Wanted


@asynccontextmanager
async def uploaded(request: Request, settings: Settings) -> AsyncGenerator[Upload, None]:
    """Read the request's form; its file is removed at the end whatever happens.

    Raises:
        Problem: invalid_request, too_large, too_slow, bad_header, storage_full.
    """
    file = _SpoolFile(spool_folder(settings))
    try:
        form = _Form(_boundary(request), settings.limits.bytes_max)
        await _receive(request, settings, form, file)
        yield Upload(file.path, form.file_name, file.sha256(), form.wanted())
    except OSError as error:
        if error.errno not in _FULL:
            raise
        logger.warning("an upload found the disk full: %s", error)
        raise Problem("storage_full", "there is no room on the service's disk for the video") from None
    finally:
        file.remove()


def spool_folder(settings: Settings) -> Path:
    """Where uploads lie until they are taken over."""
    return settings.data_dir / "spool"


def sweep_spool(settings: Settings) -> None:
    """Remove what a service that was killed has left of uploads."""
    for left in spool_folder(settings).glob("upload-*.part"):
        left.unlink(missing_ok=True)


class _SpoolFile:
    """A new file that is hashed while it is written, in threads; closing waits for a write that is under way."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="upload-", suffix=".part", dir=folder)
        self.path = Path(name)
        self._file = open(handle, "wb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        """Append; nothing happens once it is closed."""
        with self._lock:
            rest = memoryview(data)
            while rest and not self._file.closed:
                written = self._file.write(rest)
                self._hash.update(rest[:written])
                rest = rest[written:]

    def sha256(self) -> str:
        """Of what was written, in hex."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Write nothing more."""
        with self._lock:
            self._file.close()

    def remove(self) -> None:
        """Close it, and remove it from where it was made."""
        self.close()
        self.path.unlink(missing_ok=True)


async def _receive(request: Request, settings: Settings, form: _Form, file: _SpoolFile) -> None:
    """Read the whole body into the form and the file."""
    bytes_max = settings.limits.bytes_max + FRAME_BYTES_MAX
    async with aclosing(chunks(request, bytes_max, "limits.bytes_max", settings.serve)) as body:
        async for data in body:
            form.feed(data)
            if len(form.unwritten) >= WRITE_BYTES:
                await asyncio.to_thread(file.write, form.take())
    form.finish()
    await asyncio.to_thread(file.write, form.take())
    file.close()


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046 5.1.1
        raise _malformed("its Content-Type names no boundary of 1 to 70 characters")
    return boundary


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"the form cannot be read: {why}", [{"field": "body", "message": why, "type": "form"}])


class _Form:
    """What a form has said so far; python-multipart finds the parts in the stream.

    Args:
        boundary: from the Content-Type.
        bytes_max: of the file.

    Attributes:
        unwritten: bytes of the file that nobody has taken yet.
        file_name: cleaned; empty until the file's part has come.
    """

    def __init__(self, boundary: bytes, bytes_max: int) -> None:
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_name_comes,
            "on_header_value": self._header_value_comes,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data_comes,
            "on_part_end": self._part_ends,
            "on_end": self._form_ends,
        }
        self._parser = MultipartParser(boundary, callbacks)
        self._bytes_max = bytes_max
        self._file_bytes = self._field_bytes = self._parts = 0
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._part = ""
        self._field = bytearray()
        self._fields: dict[str, list[str]] = {name: [] for name in _FIELDS}
        self._ended = False
        self.unwritten = bytearray()
        self.file_name = ""

    def feed(self, data: bytes) -> None:
        """Read on. Raises `Problem` invalid_request, too_large."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed("it is no multipart/form-data, or a part's headers are too many or too long") from None

    def take(self) -> bytes:
        """The file's bytes since the last call."""
        taken, self.unwritten = bytes(self.unwritten), bytearray()
        return taken

    def finish(self) -> None:
        """Check that everything is there. Raises `Problem` invalid_request."""
        if not self._ended:
            raise _malformed("it ends before its last boundary")
        if not self.file_name:
            raise _malformed("it has no part `file`")
        if not self._file_bytes:
            raise _malformed("the part `file` is empty")

    def wanted(self) -> Wanted:
        """The fields, checked. Raises `Problem` invalid_request."""
        names = [name.strip() for text in self._fields["analyzers"] for name in text.split(",") if name.strip()]
        urls = [text for text in self._fields["webhook_url"] if text]
        if len(urls) > 1:
            raise _malformed("webhook_url is there more than once")
        try:
            return Wanted(analyzers=names or None, webhook_url=urls[0] if urls else None)
        except ValidationError as error:
            raise invalid(error.errors(include_url=False, include_context=False, include_input=False), "body") from None

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise _malformed(f"it has more than {PARTS_MAX} parts")
        self._headers = {}

    def _header_name_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or self._part not in ("file", *_FIELDS):
            raise _malformed(f"its parts are `file`, {' and '.join(f'`{name}`' for name in _FIELDS)}, and no others")
        if self._headers.get(b"content-type", b"").strip().lower().startswith(b"multipart/"):
            raise _malformed("a part is a form itself; send each file with a request of its own")
        if self._part == "file":
            if self.file_name:
                raise _malformed("it has more than one part `file`; send each with a request of its own")
            self.file_name = clean_name(options.get(b"filename", NAMELESS.encode()).decode("utf-8", "replace"))

    def _data_comes(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._file_bytes += end - start
            if self._file_bytes > self._bytes_max:
                raise too_large(f"a video of more than {self._bytes_max}", self._bytes_max, "limits.bytes_max")
            self.unwritten += data[start:end]
            return
        self._field_bytes += end - start
        if self._field_bytes > FRAME_BYTES_MAX:
            raise _malformed(f"its fields have more than {FRAME_BYTES_MAX} bytes")
        self._field += data[start:end]

    def _part_ends(self) -> None:
        if self._part in _FIELDS:
            try:
                self._fields[self._part].append(self._field.decode())
            except UnicodeDecodeError:
                raise _malformed(f"{self._part} is not in UTF-8") from None
        self._field = bytearray()

    def _form_ends(self) -> None:
        self._ended = True
