"""Responses to a load balancer's checks."""

import asyncio
import socket

import pytest

from bot.workers.agent_check import check_line, serve_checks
from bot.workers.listener import bind_socket


@pytest.mark.parametrize(
    ("why", "room", "seats", "calls", "line"),
    [
        ("", 20, 20, 0, b"ready up 100%\n"),
        ("", 5, 20, 15, b"ready up 25%\n"),
        ("", 1, 300, 299, b"ready up 1%\n"),
        ("", 0, 20, 20, b"ready up 1%\n"),  # a caller still hears that all lines are busy
        ("", 30, 20, 0, b"ready up 100%\n"),
        ("starting", 0, 20, 0, b"drain\n"),  # calls of a worker that died wait here
        ("starting", 0, 20, 3, b"drain\n"),
        ("draining", 20, 20, 3, b"drain\n"),
        ("draining", 20, 20, 0, b"maint\n"),
        ("", 0, 0, 0, b"ready up 1%\n"),
    ],
)
def test_the_line_has_the_free_seats(
    why: str, room: int, seats: int, calls: int, line: bytes
) -> None:
    assert check_line(why_not_ready=why, room=room, seats=seats, calls=calls) == line


async def test_each_connection_gets_one_line_even_if_another_does_not_read() -> None:
    listener = bind_socket("127.0.0.1", 0, key="server.agent_check_port")
    port = listener.getsockname()[1]
    lines = iter((b"drain\n", b"maint\n"))
    with socket.socket() as silent:
        async with await serve_checks(listener, lambda: next(lines)):
            silent.setblocking(False)
            await asyncio.get_running_loop().sock_connect(silent, ("127.0.0.1", port))
            await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b"maint\n"
            writer.close()
