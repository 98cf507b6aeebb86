"""Hostile clients at LiveKit's webhook, in its rooms and its events, during a call.

There is no media server: `tests/peers` has real ones.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bot.call.long_call import held_bytes, open_descriptors
from tests.bot.judged_call import judged_call
from tests.bot.server.test_livekit_door import locked_server, started
from tests.bot.server.test_strangers import HEAD, drip, pour, stranger
from tests.kit.waiting import until
from tests.transports.livekit.floods import FLOODS, Library, library, send
from tests.transports.livekit.test_routes import (
    BIG,
    BODY,
    KEY,
    NAMELESS,
    NOT_TEXT,
    SECRET,
    TORN,
    proof,
)
from transports.livekit.room_watch_rules import EMPTY_S

__all__ = ["library"]

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

WARM_PARTS = 2  # the first calls load libraries
FLAT_BYTES = 16_000_000  # of the parts after them: what was said, and the lab's record of it
MORE_FILES = 6  # a provider may be connected again in the call beside
PARTS, ROOMS, SEATS = 6, 60, 4
PATH = "/livekit/webhook"
DEEP = b'{"room":' * 1_500 + b"1" + b"}" * 1_500


def at(url: str, **server: Any) -> dict[str, Any]:
    livekit = {"enabled": True, "url": url, "api_key": KEY, "api_secret": SECRET}
    return {"transports": {"livekit": livekit}, "server": server}


async def post(session: aiohttp.ClientSession, url: str, body: bytes, shown: str) -> int:
    headers = {"Authorization": shown}
    async with session.post(url + PATH, data=body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def announce(url: str, *rooms: str) -> None:
    """Tell the server of rooms as LiveKit does, which may repeat itself."""
    async with aiohttp.ClientSession() as session:
        for room in rooms:
            body = started(room, f"EV_{room}")
            assert await post(session, url, body, proof(body)) in (200, 204)


def expect_flat(opened: int, held: list[int], most_bytes: int = FLAT_BYTES) -> None:
    """Fail if descriptors or memory grew."""
    print(f"{opened} descriptors more, {(held[-1] - held[WARM_PARTS]) / 1e6:.1f} MB")  # noqa: T201 - for `-s`
    assert opened <= MORE_FILES
    assert held[-1] - held[WARM_PARTS] < most_bytes, str(held)


FAT = ((BIG, proof(BIG), 413),)
FEW_BYTES = 7_000_000  # less than 160 such bodies have
STRANGE = (
    (BODY, "", 401),
    (BODY, "Bearer " + "x" * 7_000, 401),
    (BODY, "." * 3_000, 401),
    (BODY, proof(BODY, secret="x" * 40), 401),
    (BODY, proof(TORN), 401),
    (TORN, proof(TORN), 400),
    (NOT_TEXT, proof(NOT_TEXT), 400),
    (NAMELESS, proof(NAMELESS), 400),
    (DEEP, proof(DEEP), 400),
)


@pytest.mark.doors  # a minute of processor time
async def test_unauthenticated_webhooks_do_not_affect_calls(tmp_path: Path) -> None:
    held, statuses = list[int](), Counter[int]()
    chunk = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
    begun = HEAD % PATH.encode() + b"Content-Length: 1000\r\n\r\n"
    async with locked_server() as media, judged_call(tmp_path, changes=at(media.url)) as beside:
        opened = open_descriptors()
        for _ in range(PARTS):
            async with aiohttp.ClientSession() as session:
                for body, shown, status in STRANGE * 8 + FAT * 40:
                    assert await post(session, beside.url, body, shown) == status
            for head in (b"Content-Length: 20000000\r\n", b"Transfer-Encoding: chunked\r\n"):
                poured = {"path": PATH.encode(), "head": head, "piece": chunk}
                statuses[await pour(beside.port, **poured, most_bytes=20_000_000)] += 1
            for _ in range(8):
                async with stranger(beside.port) as it:
                    await it.say(begun + b"{")
                    it.writer.transport.abort()
            await asyncio.gather(*(drip(beside.port, begun) for _ in range(5)))
            held.append(held_bytes())
        expect_flat(open_descriptors() - opened, held, FEW_BYTES)

    assert statuses == {413: 2 * PARTS}
    assert not media.joins
    assert set(beside.refusals) == {
        *("webhook_is_no_event", "webhook_too_big", "wrong_body_hash", "wrong_signature"),
    }


async def test_floods_of_rooms_do_not_affect_calls(tmp_path: Path, library: Library) -> None:
    """Announce empty rooms, each twice and more than there are seats."""
    held = list[int]()
    async with (
        locked_server() as media,
        judged_call(tmp_path, changes=at(media.url, max_calls=SEATS)) as beside,
    ):
        opened, readers = open_descriptors(), library.readers
        for part in range(PARTS):
            rooms = [f"call-{part}-{number}-empty" for number in range(ROOMS)]
            await asyncio.gather(*(announce(beside.url, room, room) for room in rooms))
            await until(lambda: len(library.rooms) == SEATS - 1)
            await asyncio.sleep(EMPTY_S + 3)
            assert beside.seats() == 1
            held.append(held_bytes())
        await asyncio.sleep(3)
        expect_flat(open_descriptors() - opened, held)

    assert len(media.deleted) == PARTS * (ROOMS - SEATS + 1)
    assert (library.rooms, library.held, library.readers) == ({}, set(), readers)


async def test_floods_in_rooms_do_not_affect_other_calls(tmp_path: Path, library: Library) -> None:
    """Two rooms at once get floods in the middle of their calls."""
    held, names = list[int](), [*FLOODS]
    async with locked_server() as media, judged_call(tmp_path, changes=at(media.url)) as beside:
        opened, readers = open_descriptors(), library.readers
        for first in range(0, len(names), 2):
            rooms = {f"call-{name}": FLOODS[name] for name in names[first : first + 2]}
            await announce(beside.url, *rooms)
            await until(lambda rooms=rooms: library.rooms.keys() >= rooms.keys())
            await asyncio.sleep(3)
            assert beside.seats() == 1 + len(rooms)
            for room, flood in rooms.items():
                send(library.rooms[room], flood)
            await asyncio.sleep(8)
            assert beside.seats() == 1, rooms
            held.append(held_bytes())
        await asyncio.sleep(3)
        expect_flat(open_descriptors() - opened, held)

    assert Counter(beside.refusals)["room_events_too_fast"] == len(FLOODS)
    assert (library.rooms, library.held, library.readers) == ({}, set(), readers)
    assert library.streams == 0
