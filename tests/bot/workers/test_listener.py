"""The port: bound by us, or held by systemd while the server is replaced."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.exits import UsageError
from bot.workers.listener import bind_socket, listening_socket
from tests.bot.serving import free_port

FREE = 500  # a file descriptor that pytest does not use
SERVE = """
import os, socket, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from bot.workers.listener import listening_socket
with listening_socket("127.0.0.1", int(sys.argv[1])) as listener:
    print("LISTEN_FDS" in os.environ, flush=True)
    while True:
        connection, _ = listener.accept()
        connection.sendall(connection.recv(100))
        connection.close()
"""


@contextmanager
def server(listener: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """Run a process that systemd would have given the socket."""
    port = listener.getsockname()[1]
    program = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, sys.argv[2:])"
    number = listener.fileno()
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program, str(number), sys.executable, "-c", SERVE, str(port)],
        env=os.environ | {"LISTEN_FDS": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
        pass_fds=(3, number) if number != 3 else (3,),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def echoed(port: int) -> bytes:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a caller")
        answer = await reader.read()
        writer.close()
        return answer


async def test_a_connection_during_a_replacement_waits_for_the_next_server() -> None:
    with bind_socket("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with server(held) as first:
            assert await echoed(port) == b"a caller"
            first.send_signal(signal.SIGKILL)
            first.wait()
        waiting = asyncio.create_task(echoed(port))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        with server(held):
            assert await waiting == b"a caller"


def test_child_processes_do_not_inherit_the_sockets_variables() -> None:
    with bind_socket("127.0.0.1", 0) as held, server(held) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "False\n"


@pytest.mark.parametrize("whose", ["", "1", "another"])
def test_sockets_meant_for_another_process_are_ignored(
    whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", whose)
    port = free_port()

    with listening_socket("127.0.0.1", port) as ours:
        assert ours.getsockname()[1] == port


@pytest.mark.parametrize("count", ["1", "2"])
def test_an_unsuitable_socket_is_refused_in_one_line(
    count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = socket.socketpair() if count == "1" else [bind_socket("127.0.0.1", 0)] * 2
    for number, handed_socket in enumerate(handed, FREE):
        os.dup2(handed_socket.fileno(), number)
    monkeypatch.setattr("bot.workers.listener.HANDED", FREE)
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))

    with pytest.raises(UsageError) as refused:
        listening_socket("127.0.0.1", 8080)

    assert "server.port is 8080" in str(refused.value)
    assert "ListenStream=127.0.0.1:8080" in str(refused.value)
    for handed_socket in handed:
        handed_socket.close()
    if count == "1":
        os.close(FREE + 1)
