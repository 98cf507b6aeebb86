"""What a line between our processes bears: it carries all calls of a worker."""

import asyncio
import socket

import pytest

from bot.house.wire import Wire


@pytest.mark.parametrize(
    "last", [b'{"tell": "entry", "en', b"7", b"", b'{"tell": "begin"}'], ids=str
)
async def test_an_end_that_dies_in_the_middle_of_a_word_ends_the_line_alone(last: bytes) -> None:
    here, there = socket.socketpair()
    wire = Wire(here)
    heard: list[object] = []
    wire.on("ready", heard.append)
    there.sendall(b'{"tell": "ready"}\n' + last)
    there.close()

    async with asyncio.timeout(10):
        await wire.run()

    assert heard == [{"tell": "ready"}]
    assert wire.gone.is_set()


@pytest.mark.parametrize("word", [b"nonsense", b"\xff", b"[1]", b"null"], ids=str)
async def test_a_word_that_nobody_can_read_is_passed_over(word: bytes) -> None:
    here, there = socket.socketpair()
    wire = Wire(here)
    heard: list[object] = []
    wire.on("ready", heard.append)
    there.sendall(word + b'\n{"tell": "ready"}\n')
    there.close()

    async with asyncio.timeout(10):
        await wire.run()

    assert heard == [{"tell": "ready"}]
