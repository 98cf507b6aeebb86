"""A caller without a free seat is refused in the supervisor, however busy the workers are."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bot.workers.admission_rules import PoolAdmission
from bot.workers.connections import ACCEPT_BURST, ACCEPT_PAUSE_S, ConnectionListener, ConnectionPace
from bot.workers.listener import bind_socket
from bot.workers.seats import SeatTable, refuse
from configuration.settings import Settings
from lab.simulators.carrier.webhook import NotConnectedError, PhoneCall, ring, signature
from tests.bot.serving import AUTH_TOKEN
from tests.bot.workers.lines import lines
from tests.kit.stages import STAGES
from transports.pool import ELSEWHERE

URL = "https://agent.example/line"
FORM = PhoneCall().form()


COMMON = "https://calls.example.com"


def settings_of(**twilio: Any) -> Settings:
    return Settings.model_validate(
        {
            "stages": STAGES,
            "server": {
                "public_url": URL,
                "also_called": [f"{COMMON}/"],
                "token": "a-token-of-some-length",
            },
            "transports": {"twilio": {"enabled": True, "auth_token": AUTH_TOKEN, **twilio}},
        }
    )


def webhook(
    *,
    path: str = "/twilio/voice",
    proof: str | None = None,
    form: dict[str, str] | None = None,
    signed_for: str = URL,
) -> bytes:
    form = FORM if form is None else form
    body = urlencode(form).encode()
    signed = signature(AUTH_TOKEN, f"{signed_for}{path}", form) if proof is None else proof
    head = (
        f"POST {path} HTTP/1.1\r\nHost: agent.example\r\nX-Twilio-Signature: {signed}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Seats:
    """Has a free seat or not; keeps requests and events."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.asked: list[str] = []
        self.told: list[str] = []

    def emit(self, *, reason: str) -> None:
        self.told.append(reason)

    def admit(self, call: str) -> str:
        self.asked.append(call)
        return self.reason


def door(reason: str, **twilio: Any) -> tuple[Seats, Callable[[bytes], bytes]]:
    seats, settings = Seats(reason), settings_of(**twilio)
    return seats, partial(refuse, settings=settings, admit=seats.admit, emit=seats.emit)


@pytest.mark.parametrize(
    ("signed_for", "answered"), [(URL, True), (COMMON, True), ("https://other.example", False)]
)
def test_a_refused_call_may_be_signed_for_each_of_our_addresses(
    *, signed_for: str, answered: bool
) -> None:
    _, no_room = door("busy")

    assert bool(no_room(webhook(signed_for=signed_for))) == answered


def test_a_refused_call_gets_a_complete_answer() -> None:
    seats, no_room = door("busy")

    head, _, body = no_room(webhook()).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"<Say>All our lines are busy." in body
    assert b"<Hangup" in body
    assert (seats.asked, seats.told) == ([FORM["CallSid"]], ["busy"])


def test_a_caller_of_a_draining_server_is_sent_to_the_fallback() -> None:
    seats, no_room = door("draining")

    assert no_room(webhook()).startswith(b"HTTP/1.1 503 ")
    assert (seats.asked, seats.told) == ([FORM["CallSid"]], ["draining"])


def test_a_caller_for_whom_another_machine_has_room_is_not_refused() -> None:
    seats, no_room = door(ELSEWHERE)

    assert no_room(webhook()).startswith(b"HTTP/1.1 503 ")
    assert (seats.asked, seats.told) == ([FORM["CallSid"]], [])


@pytest.mark.parametrize(
    ("seats", "elsewhere", "address", "why"),
    [
        (0, 0, "", "full"),
        (0, 2, "", ELSEWHERE),
        (0, 2, "192.0.2.1", "full"),  # a browser's request comes from its page's machine
        (1, 2, "", ""),
    ],
)
async def test_a_full_machine_names_the_others_if_they_have_room(
    seats: int, elsewhere: int, address: str, why: str
) -> None:
    admission = PoolAdmission(seats=seats, cores=2.0, measured=False)
    admission.open(1, now=0.0)
    table = SeatTable(admission, {}, clock=lambda: 0.0)
    table.room_elsewhere = lambda: elsewhere

    admitted = await table._answer_admission({"call": "CA1", "address": address})
    assert admitted.get("reason", "") == why


@pytest.mark.parametrize("reason", ["busy", "draining", ELSEWHERE])
def test_a_contact_of_a_dial_is_hung_up_on_without_a_word(reason: str) -> None:
    seats, no_room = door(reason)

    form = PhoneCall(direction="outbound-api").form()
    head, _, body = no_room(webhook(path="/twilio/voice?dial=d-1", form=form)).partition(
        b"\r\n\r\n"
    )

    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"<Say>" not in body
    assert b"<Response><Hangup /></Response>" in body
    assert (seats.asked, seats.told) == ([form["CallSid"]], [reason])


def test_a_call_with_a_seat_reaches_a_worker() -> None:
    seats, no_room = door("")

    assert no_room(webhook(path="/twilio/voice?a=1&b=2")) == b""
    assert (seats.asked, seats.told) == ([FORM["CallSid"]], [])


def test_a_request_to_the_fallback_url_reaches_a_worker() -> None:
    seats, no_room = door("busy")

    assert no_room(webhook(form=FORM | {"ErrorCode": "11200"})) == b""
    assert (seats.asked, seats.told) == ([], [])


@pytest.mark.parametrize(
    "request_bytes",
    [
        webhook()[:-1],
        webhook().partition(b"\r\n\r\n")[0],
        webhook(proof=""),
        webhook(proof="jnHHJVRuc+5O5HxzOjyUz1Q19Bc="),
        webhook(path="/twilio/voices"),
        webhook(form={"From": "+15005550006"}),
        b"POST /twilio/voice\r\n\r\n",
        b"POST /twilio/voice HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\xff\xfe\xfd",
        b"POST /twilio/voice HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /twilio/media HTTP/1.1\r\n\r\n",
    ],
    ids=[
        "a part of the body",
        "the head alone",
        "not signed",
        "wrongly signed",
        "another path",
        "without a name",
        "no request",
        "no form",
        "no chunk",
        "another request",
    ],
)
def test_requests_other_than_whole_signed_webhooks_reach_a_worker(request_bytes: bytes) -> None:
    seats, no_room = door("busy")

    assert no_room(request_bytes) == b""
    assert (seats.asked, seats.told) == ([], [])


def test_without_telephone_transports_the_supervisor_refuses_no_call() -> None:
    seats, no_room = door("busy", enabled=False)

    assert no_room(webhook()) == b""
    assert seats.asked == []


async def test_refusals_are_answered_while_every_worker_is_busy() -> None:
    """The workers' answers never come; the refusals do, one for each call."""
    _, no_room = door("full")
    kept: list[socket.socket] = []

    def hand(connection: socket.socket, _: bool, __: str) -> bool:  # noqa: FBT001 - a Hand
        kept.append(connection.dup())
        return True

    with bind_socket("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as session:
            running = tasks.create_task(
                ConnectionListener(listener, hand=hand, answer=no_room).run()
            )
            said = await asyncio.gather(*(refusal(session, url) for _ in range(30)))
            running.cancel()

    assert {item[:22] for item in said} == {"All our lines are busy"}
    assert kept == []


async def refusal(session: aiohttp.ClientSession, url: str) -> str:
    form = PhoneCall().form()
    try:
        await ring(session, form, base_url=url, public_url=URL, auth_token=AUTH_TOKEN)
    except NotConnectedError as refused:
        return refused.said
    return "connected"


async def test_a_seat_reserved_in_the_supervisor_is_used_by_the_worker() -> None:
    async with asyncio.timeout(20), lines(settings_of(), seats=1) as pool:
        await pool.open()

        assert pool.office.seats.hold("CA1") == ""
        assert pool.office.seats.hold("CA2") == "full"
        assert await pool.joined[0].admit("CA1") == await pool.joined[1].admit("CA1")


async def test_one_worker_reports_refused_calls() -> None:
    heard: list[str] = []
    async with asyncio.timeout(20), lines(settings_of()) as pool:
        for joined in pool.joined:
            joined.wire.on("turned_away", lambda said: heard.append(said["reason"]))
        await pool.open()
        pool.office.messages.send_to_one("turned_away", reason="busy")
        await pool.settle()

    assert heard == ["busy"]


async def test_without_a_ready_worker_no_caller_hears_busy() -> None:
    """The carrier uses its fallback when no worker is ready."""
    async with asyncio.timeout(20), lines(settings_of(), seats=1) as pool:
        assert pool.office.seats.hold("CA1") == ""


def test_a_burst_is_accepted_at_once_and_then_a_fixed_rate() -> None:
    pace = ConnectionPace(now=0.0)

    pauses = [pace.pause_s(now=0.0) for _ in range(ACCEPT_BURST + 5)]

    assert pauses == [0.0] * (ACCEPT_BURST - 1) + [ACCEPT_PAUSE_S] * 6
    assert pace.pause_s(now=10 * ACCEPT_PAUSE_S) == 0.0
