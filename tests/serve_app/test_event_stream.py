"""Server-sent events are read as the HTML standard says, however the network cuts them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from serve_app.client.event_stream import Message, messages


async def chunked(data: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_server_sent_events_are_read_as_the_standard_says(size: int, end: bytes) -> None:
    lines = [
        "\ufeff: a comment",
        "retry: 2000",
        "",
        "id: 1",
        "event: job",
        "data: {",
        'data: "line":"a\u2028b\x85c"}',
        "",
        "event: left over without data",
        "",
        "data:no space",
        "unknown: field",
        "id: bad\0id",
        "",
        "data",
        "",
        "data: cut off",
    ]
    found = [message async for message in messages(chunked(end.join(line.encode() for line in lines), size))]
    assert found == [
        Message("job", '{\n"line":"a\u2028b\x85c"}', "1"),
        Message("message", "no space", None),
        Message("message", "", None),
    ]
