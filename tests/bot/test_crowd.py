"""Thirty callers at once, and ten thousand strangers, during one judged call."""

import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from loguru import logger

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import NotConnectedError
from tests.bot.call.long_call import held_bytes, open_descriptors
from tests.bot.judged_call import AUTH_TOKEN, JudgedCall, going_on, judged_call, listening

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.usefixtures("quiet_log")]

CALLERS = 30
PARTS = 10
WARM_PARTS = 4  # in one of these the first question of its kind takes 11 MB
LONG_CALLS = 40  # each next to as many of them
WARM_CALLS = 4
SEATS = 6
MORE_FILES = 10  # both ends of the session's own connections, kept alive
FLAT_BYTES = 16_000_000  # with a call's own minutes: what was said, and the lab's record of it


async def test_each_of_thirty_simultaneous_callers_is_answered_or_told(tmp_path: Path) -> None:
    async with judged_call(tmp_path, changes={"server": {"max_calls": SEATS}}) as beside:
        fates = Counter(await asyncio.gather(*(call(beside) for _ in range(CALLERS))))

    assert fates == {"answered": SEATS - 1, "told": CALLERS - SEATS + 1}


async def call(beside: JudgedCall) -> str:
    """Call, and return the outcome."""
    try:
        async with Carrier(beside.url, AUTH_TOKEN) as caller:
            heard = await caller.listen(within_s=30)
    except NotConnectedError as refused:
        return "told" if "busy" in refused.said else "refused"
    return "answered" if heard.size else "silence"


@pytest.fixture
def tracebacks() -> Iterator[list[str]]:
    """Record every logged error."""
    found: list[str] = []
    number = logger.add(lambda message: found.append(str(message)), level="ERROR")
    yield found
    logger.remove(number)


@pytest.mark.parametrize("messages", [pytest.param(600, id="600 messages, 60 requests")])
async def test_a_hundred_unauthenticated_clients_do_not_affect_a_call(
    messages: int, tmp_path: Path, tracebacks: list[str]
) -> None:
    dice = random.Random(9)  # noqa: S311 - hostile, not secret
    held: list[int] = []
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession() as session:
        opened = open_descriptors()
        for part in range(PARTS):
            await pester(session, beside, dice, messages=messages // PARTS)
            if part >= WARM_PARTS:
                held.append(held_bytes())
        opened = open_descriptors() - opened

    print(f"{opened} descriptors, {(held[-1] - held[0]) / 1e6:.1f} MB more: {held}")  # noqa: T201 - for `-s`
    assert opened <= MORE_FILES
    assert held[-1] - held[0] < FLAT_BYTES, str(held)
    assert tracebacks == []


@pytest.mark.hours
@pytest.mark.parametrize("messages", [pytest.param(50_000, id="50,000 messages, 5,000 requests")])
async def test_ten_thousand_unauthenticated_clients_do_not_affect_a_call_and_leave_nothing(
    messages: int, tmp_path: Path, tracebacks: list[str]
) -> None:
    """After each judged call comes one without strangers: the control for its memory."""
    dice = random.Random(9)  # noqa: S311 - hostile, not secret
    sent, turns = 0, 0
    grown: dict[str, list[int]] = {"strangers": [], "alone": []}
    async with listening(tmp_path, {}, None) as server, aiohttp.ClientSession() as session:
        for _ in range(LONG_CALLS):
            before = held_bytes()
            async with going_on(beside := server.next_call()):
                sent += await pester(session, server, dice, messages=messages // LONG_CALLS)
            grown["strangers"].append(held_bytes() - before)
            beside.expect_unhurt()
            turns += len(beside.verdicts)

            before = held_bytes()
            async with going_on(alone := server.next_call()):
                while len(alone.asked) < len(beside.asked) - 1:  # noqa: ASYNC110 - virtual
                    await asyncio.sleep(0.5)
            grown["alone"].append(held_bytes() - before)
            alone.expect_unhurt()

    each = {name: statistics.median(found[WARM_CALLS:]) for name, found in grown.items()}
    left = (each["strangers"] - each["alone"]) * LONG_CALLS
    print(f"{sent} messages, {turns} turns; {each} bytes a call: {grown}")  # noqa: T201 - for `-s`
    assert sent >= messages
    assert left < FLAT_BYTES, f"{left / 1e6:.1f} MB: {grown}"
    assert tracebacks == []


async def pester(
    session: aiohttp.ClientSession,
    server: JudgedCall,
    dice: random.Random,
    *,
    messages: int,
) -> int:
    """Send at least this many messages, and a tenth as many requests; return how many messages."""
    for _ in range(messages // 10):
        await request(session, server.url, dice)
    sent = 0
    while sent < messages:
        sent += await socket_of_a_stranger(session, server.port, dice)
    return sent


async def request(session: aiohttp.ClientSession, url: str, dice: random.Random) -> None:
    """Make one hostile request; no answer may be a mistake of the server."""
    method, path, body = dice.choice(REQUESTS)
    with suppress(aiohttp.ClientError):
        async with session.request(method, url + path, data=body(dice)) as answer:
            assert answer.status < 500 or answer.status == 503, (method, path, answer.status)
            await answer.read()


async def socket_of_a_stranger(
    session: aiohttp.ClientSession, port: int, dice: random.Random
) -> int:
    """Send invalid messages to a media socket; return how many."""
    count = dice.randint(1, 60)
    with suppress(aiohttp.ClientError, ConnectionError):
        async with session.ws_connect(f"ws://127.0.0.1:{port}/twilio/media") as socket:
            for _ in range(count):
                message = hostile_message(dice)
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)
    return count


def hostile_message(dice: random.Random) -> str | bytes:
    """Return a message that no carrier sends."""
    kind = dice.randrange(7)
    if kind == 0:
        return dice.randbytes(dice.randrange(2_000))
    if kind == 1:
        return "[" * dice.randrange(16_000)
    if kind == 2:
        return json.dumps({"event": "media", "media": {"payload": "/" * dice.randrange(17_000)}})
    if kind == 3:
        return '{"event": ' + dice.choice(["NaN", "-Infinity", "9" * 9_000, "null", "[[]]"]) + "}"
    return json.dumps(something(dice, 4))


def something(dice: random.Random, depth: int) -> Any:
    """Return a tree with the right words in wrong places."""
    words = ("event", "start", "media", "mark", "dtmf", "stop", "connected", "streamSid", "token")
    kind = dice.randrange(5 if depth else 3)
    if kind == 0:
        return dice.choice(words)
    if kind == 1:
        return dice.choice([None, True, -1, 10**30, 1e300, "", "\ud800", "\x1b[31m\n"])
    if kind == 2:
        return "".join(map(chr, dice.choices(range(0xD7FF), k=dice.randrange(40))))
    if kind == 3:
        return [something(dice, depth - 1) for _ in range(dice.randrange(4))]
    return {dice.choice(words): something(dice, depth - 1) for _ in range(dice.randrange(5))}


def _offer(dice: random.Random) -> str:
    lines = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2", "a=mid:0", "a=x"]
    sdp = "v=0\r\n" + "\r\n".join(dice.choices(lines, k=dice.randrange(2_000)))
    return json.dumps({"sdp": sdp, "type": "offer", "pc_id": dice.choice([None, "x" * 150])})


def _candidates(dice: random.Random) -> str:
    return json.dumps({"pc_id": "nobody", "candidates": [something(dice, 2)]})


def _form(dice: random.Random) -> bytes:
    return b"&".join(dice.randbytes(8) + b"=1" for _ in range(dice.randrange(300)))


def _nothing(dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(300))


REQUESTS = (
    ("POST", "/api/offer", _offer),
    ("PATCH", "/api/offer", _candidates),
    ("POST", "/twilio/voice", _form),
    ("GET", "/twilio/media", _nothing),
    ("GET", "/nowhere", _nothing),
    ("POST", "/sign-in", _form),
)
