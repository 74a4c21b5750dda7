"""Reads server-sent events: the event stream format of the HTML standard, section 9.2.6."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Message:
    """One event.

    Args:
        type: ``message`` where the stream names none.
        data: its lines, joined by newlines.
        id: as it stands in this event; None where it has none.
    """

    type: str
    data: str
    id: str | None


async def messages(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
    """The events of a stream, however its bytes are cut. One that the stream's end cuts off is dropped."""
    kind, data, ident = "", list[str](), None
    async with aclosing(_lines(chunks)) as lines:
        async for line in lines:
            if not line:
                if data:
                    yield Message(kind or "message", "\n".join(data), ident)
                kind, data, ident = "", [], None
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                ident = value


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """Lines that have ended. Only CR, LF and CRLF end one: U+2028 and the like are part of the data."""
    rest = bytearray()
    searched = 0
    async for chunk in chunks:
        rest += chunk
        begin = 0
        while found := _LINE_END.search(rest, searched):
            if found.end() == len(rest) and found.group() == b"\r":
                break  # the next chunk may begin with its LF
            yield rest[begin : found.start()].decode("utf-8", "replace").removeprefix("\ufeff")
            begin = searched = found.end()
        del rest[:begin]
        searched = max(0, len(rest) - 1)
