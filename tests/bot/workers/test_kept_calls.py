"""A call whose worker has died is held until another one is ready."""

import asyncio
import socket
from xml.etree import ElementTree

import pytest

from bot.workers.connections import (
    MAX_HELD_S,
    MAX_REDIRECTS,
    REDIRECT_PAUSE_S,
    STARTING,
    ConnectionListener,
    hold_response,
)
from bot.workers.listener import bind_socket

URL = "https://agent.example/line/"


def told(path: str, language: str = "en") -> bytes | None:
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    return hold_response(request, public_url=URL, language=language)


@pytest.mark.parametrize(
    ("path", "say", "pause"),
    [("/twilio/after", "Say", "Pause"), ("/plivo/after", "Speak", "Wait")],
)
def test_a_carrier_plays_one_sentence_and_asks_again(path: str, say: str, pause: str) -> None:
    url, sentences, asked = path, 0, 0
    while (answer := told(url)) is not None:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        root = ElementTree.fromstring(body)  # noqa: S314 - our own answer
        sentences += len(root.findall(say))
        (wait,) = root.findall(pause)
        assert wait.get("length") == str(REDIRECT_PAUSE_S)
        redirect = root.findtext("Redirect") or ""
        assert redirect.startswith(f"https://agent.example/line{path}?")
        url = path + redirect.removeprefix(f"https://agent.example/line{path}")
        asked += 1

    assert (sentences, asked) == (1, MAX_REDIRECTS)
    assert asked * REDIRECT_PAUSE_S == MAX_HELD_S


def test_a_carrier_without_such_instructions_waits_for_its_answer() -> None:
    assert told("/telnyx/voice") == b""


@pytest.mark.parametrize(
    "path",
    ["/twilio/voice", "/plivo/voice", "/exotel/voice", "/twilio/after?meanwhile=99", "/api/offer"],
)
def test_a_request_that_is_no_call_hears_that_no_worker_is_ready(path: str) -> None:
    assert told(path) is None


@pytest.mark.parametrize(
    ("language", "words"), [("es-MX", "Un momento"), ("ru", "Одну минуту"), ("sv", "One moment")]
)
def test_the_sentence_is_in_the_agents_language(language: str, words: str) -> None:
    answer = told("/twilio/after", language)

    assert answer is not None
    assert words in answer.decode()


@pytest.mark.parametrize(("why", "is_kept"), [(STARTING, True), ("draining", False)])
async def test_a_request_waits_for_the_next_worker_unless_the_server_stops(
    why: str, *, is_kept: bool
) -> None:
    there, asked, taken = asyncio.Event(), asyncio.Event(), list[bytes]()

    def hand(connection: socket.socket, is_call: bool, name: str) -> bool:  # noqa: FBT001 - a Hand
        if there.is_set():
            taken.append(connection.recv(100))
        asyncio.get_running_loop().call_soon(asked.set)  # after the answer of `Connections`
        return there.is_set()

    with bind_socket("127.0.0.1", 0) as listener:
        arrivals = ConnectionListener(
            listener,
            hand=hand,
            hold_response=lambda each: hold_response(each, public_url=URL, language="en"),
            why_not_ready=lambda: why,
        )
        running = asyncio.get_running_loop().create_task(arrivals.run())
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"POST /telnyx/voice HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(10):
            await asked.wait()
            there.set()
            arrivals.open()
            answer = await reader.read()
        writer.close()
        running.cancel()

    assert bool(taken) is is_kept
    assert answer.startswith(b"HTTP/1.1 503") is not is_kept
