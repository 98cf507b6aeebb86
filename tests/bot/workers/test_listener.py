"""The port, bound by us or held by systemd while the server is replaced; reports of readiness."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.workers.listener import READY, bind_socket, listening_socket, notify, ready_line
from configuration.settings import Settings
from runtime.exits import UsageError
from tests.bot.serving import free_port
from tests.kit.stages import STAGES

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
            assert first.stdout is not None
            assert first.stdout.readline() == "False\n"  # its own children do not get the socket
            first.send_signal(signal.SIGKILL)
            first.wait()
        waiting = asyncio.create_task(echoed(port))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        with server(held):
            assert await waiting == b"a caller"


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
    monkeypatch.setattr("bot.workers.listener.SYSTEMD_FD", FREE)
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


@pytest.mark.parametrize("kind", ["a file", "an abstract name"])
def test_the_service_manager_is_told_that_we_are_ready(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{tmp_path}/notify"
    address = place if kind == "a file" else f"\0{place}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))

        notify(READY)

        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("place", ["", "/nowhere/notify"])
def test_a_missing_listener_does_not_stop_the_program(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)

    notify(READY)


OFF = {"webrtc": {"enabled": False}}
TWILIO = {"twilio": {"enabled": True, "auth_token": "t"}}
ON = {"enabled": True}
PHONE = {"public_url": "https://phone.example.com"}


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (
            {},
            "Holdline is ready at http://127.0.0.1:81 (webrtc): "
            "open http://127.0.0.1:81/ and press Call.",
        ),
        (
            {
                "server": PHONE | {"host": "0.0.0.0", "token": "s3cret"},  # noqa: S104
                "transports": TWILIO,
            },
            "Holdline is ready at http://127.0.0.1:81 (webrtc, twilio): "
            "open http://127.0.0.1:81/, sign in with HOLDLINE_TOKEN and press Call; "
            "set your Twilio number's voice webhook to https://phone.example.com/twilio/voice.",
        ),
        (
            {
                "server": PHONE,
                "transports": OFF | {"telnyx": ON, "plivo": ON, "exotel": ON},
            },
            "Holdline is ready at http://127.0.0.1:81 (telnyx, plivo, exotel): "
            "set your Telnyx application's webhook to https://phone.example.com/telnyx/voice; "
            "set your Plivo application's answer URL to https://phone.example.com/plivo/voice; "
            "set your Exotel Voicebot applet's URL to "
            "https://phone.example.com/exotel/media, as wss.",
        ),
        (
            {"transports": OFF},
            "Holdline is ready at http://127.0.0.1:81 (no transport): "
            "enable one under transports in the configuration, otherwise no calls can arrive.",
        ),
    ],
    ids=["browser", "both", "the other carriers", "none"],
)
def test_the_start_line_names_address_transports_and_the_next_step(
    tree: dict[str, Any], line: str
) -> None:
    assert ready_line(Settings.model_validate({"stages": STAGES, **tree}), port=81) == line


def test_each_failed_provider_gets_one_line_after_the_start_line() -> None:
    settings = Settings.model_validate({"stages": STAGES})
    said = "OpenAI rejects OPENAI_API_KEY (401); callers will get the keypad menu"

    lines = ready_line(settings, port=81, refused=[said, "Deepgram is gone", said]).splitlines()

    assert lines[1:] == [f"Attention: {said}.", "Attention: Deepgram is gone."]
