"""Invalid messages in a call are dropped and reported once, and the call continues."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from calls.events import Event, InputRefused
from lab.simulators.carrier.carrier import Carrier
from tests.transports.carrier_server import carrier_server
from tests.transports.test_carriers import loud_s, say, tone
from tests.transports.twilio_server import TOKEN, Call, WorkerPool, pool, until

pytestmark = pytest.mark.virtual_time

ALL = ("twilio", "telnyx", "plivo", "exotel")


def media(payload: object, **more: object) -> str:
    return json.dumps({"event": "media", "media": {"track": "inbound", "payload": payload, **more}})


def silence(size: int) -> str:
    return media(base64.b64encode(b"\xff" * size).decode())


def mark(carrier: str) -> str:
    return json.dumps({"event": "playedStream" if carrier == "plivo" else "mark", "mark": {}})


ODD: dict[str, tuple[str | bytes, str]] = {
    "a binary message": (b"\x00\x01", "binary_message"),
    "an empty message": ("", "not_json"),
    "a word": ("ping", "not_json"),
    "half a message": ('{"event":"media","media":{"payl', "not_json"),
    "brackets without end": ("[" * 16_000, "not_json"),
    "a list": ("[1]", "not_a_json_object"),
    "no event": ('{"streamSid":"x"}', "unknown_event"),
    "an event of tomorrow": ('{"event":"warning","warning":{"x":1}}', "unknown_event"),
    "media without anything": ('{"event":"media"}', "incomplete_message"),
    "media of null": ('{"event":"media","media":null}', "incomplete_message"),
    "no payload": ('{"event":"media","media":{"track":"inbound"}}', "incomplete_message"),
    "a payload of null": (media(None), "incomplete_message"),
    "a payload in lines": (media("//////8\n//////8=\n"), "invalid_base64"),
    "a payload of the other alphabet": (media("-_-_-_-_"), "invalid_base64"),
    "a payload without its padding": (media("//////8"), "invalid_base64"),
    "a payload of other signs": (media("**"), "invalid_base64"),
    "a hundred kilobytes": ("x" * 100_000, "message_too_big"),
    "a key that no telephone has": ('{"event":"dtmf","dtmf":{"digit":"12"}}', "unknown_key"),
}


class Line:
    """A call by some carrier, and its events."""

    def __init__(self, pool: WorkerPool, caller: Carrier, call: Call) -> None:
        self.pool, self.caller, self.call = pool, caller, call
        self.told: list[Event] = []
        call.leg.tell_to(self.told.append)

    async def goes_on(self) -> bool:
        """Return whether both sides still hear each other, on their first line."""
        before = len(self.call.ears.audio)
        await self.caller.say(tone(0.2, self.caller.rate_hz))
        await say(self.call, 0.2)
        heard = await self.caller.listen(quiet_s=0.3)
        rate_hz = self.call.leg.facts.sample_rate_hz
        came = np.frombuffer(bytes(self.call.ears.audio[before:]), dtype="<i2")
        both = (loud_s(heard, self.caller.rate_hz), loud_s(came, rate_hz))
        return both == pytest.approx((0.2, 0.2), abs=0.05) and not self.caller.lost_at

    def refusals(self) -> list[str]:
        return [told.reason for told in self.told if isinstance(told, InputRefused)]


@asynccontextmanager
async def line(carrier: str, **wide: Any) -> AsyncIterator[Line]:
    """Answer a call of a carrier; a lost line may return."""
    if carrier == "twilio":
        async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
            yield Line(it, caller, await it.call())
        return
    async with (
        carrier_server(returns_within_s=30, **wide) as opened,
        opened.caller(carrier) as caller,
    ):
        yield Line(opened.pool, caller, await opened.pool.call())


@pytest.mark.parametrize("carrier", ALL)
async def test_each_kind_of_invalid_message_is_dropped_and_reported_once_in_its_own_call(
    carrier: str,
) -> None:
    nameless, second_start = mark(carrier), '{"event":"start","start":{}}'
    async with line(carrier) as it:
        for data in (*(data for data, _ in ODD.values()), nameless, second_start):
            await it.caller.send_raw(data)
            await asyncio.sleep(0.025)

        assert await it.goes_on()
        assert it.refusals() == list(dict.fromkeys(reason for _, reason in ODD.values()))
        assert it.pool.told == []


TOO_LONG = {
    "twilio": ("twilio", {}, 8_001, "media_too_long"),
    "twilio, much": ("twilio", {}, 20_000, "message_too_big"),
    "telnyx": ("telnyx", {}, 8_001, "media_too_long"),
    "telnyx, wide": ("telnyx", {"codec": "L16"}, 32_002, "media_too_long"),
    "plivo": ("plivo", {}, 20_000, "media_too_long"),
    "exotel": ("exotel", {}, 16_002, "media_too_long"),
    "exotel, wide": ("exotel", {"rate_hz": 24_000}, 60_000, "message_too_big"),
}


@pytest.mark.parametrize(
    ("carrier", "wide", "size", "reason"), TOO_LONG.values(), ids=TOO_LONG.keys()
)
async def test_more_than_a_second_of_sound_in_one_message_is_dropped(
    carrier: str, wide: dict[str, Any], size: int, reason: str
) -> None:
    async with line(carrier, **wide) as it:
        await it.caller.send_raw(silence(size))

        assert await it.goes_on()
        assert it.refusals() == [reason]


LONG: dict[str, tuple[str, dict[str, Any], int]] = {  # the last field: bytes of a second
    "twilio": ("twilio", {}, 8_000),
    "telnyx": ("telnyx", {}, 8_000),
    "telnyx, L16": ("telnyx", {"codec": "L16"}, 32_000),
    "plivo": ("plivo", {}, 8_000),
    "plivo, narrow": ("plivo", {"content_type": "audio/x-l16;rate=8000"}, 16_000),
    "plivo, wide": ("plivo", {"content_type": "audio/x-l16;rate=16000"}, 32_000),
    "exotel": ("exotel", {}, 16_000),
    "exotel, wide": ("exotel", {"rate_hz": 16_000}, 32_000),
    "exotel, widest": ("exotel", {"rate_hz": 24_000}, 48_000),
}


@pytest.mark.parametrize(("carrier", "wide", "second_bytes"), LONG.values(), ids=LONG.keys())
async def test_up_to_a_second_of_sound_in_one_message_is_heard_whatever_its_codec(
    carrier: str, wide: dict[str, Any], second_bytes: int
) -> None:
    async with line(carrier, **wide) as it:
        for _ in range(2):
            await it.caller.send_raw(silence(second_bytes))
        rate_hz = it.call.leg.facts.sample_rate_hz

        await until(lambda: len(it.call.ears.audio) > 2 * 0.9 * 2 * rate_hz)
        assert not it.caller.lost_at
        assert it.refusals() == []


async def test_a_flood_of_invalid_messages_costs_the_line_and_not_the_call() -> None:
    async with line("twilio") as it:
        for _ in range(60):
            await it.caller.send_raw("ping")
        await until(lambda: len(it.caller.lost_at) == 1)
        await say(it.call, 0.2)
        heard = await it.caller.listen(quiet_s=0.3)

        assert loud_s(heard, it.caller.rate_hz) == pytest.approx(0.2, abs=0.05)
        assert it.refusals() == ["not_json", "flood_of_odd_messages"]
        assert (it.call.gone_for, len(it.pool.calls)) == ([], 1)


async def test_a_flood_ends_a_call_that_nobody_takes_up_as_a_lost_line() -> None:
    async with line("exotel") as it:
        for _ in range(60):
            await it.caller.send_raw("ping")
        await asyncio.wait_for(it.call.over.wait(), 10)

        assert it.call.gone_for == ["connection_lost"]
        assert it.refusals() == ["not_json", "flood_of_odd_messages"]


async def test_slow_invalid_messages_never_become_a_flood() -> None:
    async with line("twilio") as it:
        for _ in range(100):
            await it.caller.send_raw("ping")
            await asyncio.sleep(0.025)

        assert await it.goes_on()


async def test_a_far_end_can_cause_only_a_few_kinds_of_events() -> None:
    async with line("telnyx") as it:
        for code in range(100_001, 100_100):
            await it.caller.send_raw(json.dumps({"event": "error", "payload": {"code": code}}))
            await asyncio.sleep(0.03)

        assert await it.goes_on()
        assert len(it.refusals()) == 32


WIDE = {
    "telnyx": ("telnyx", {"codec": "L16"}, ">i2"),
    "plivo": ("plivo", {"content_type": "audio/x-l16;rate=16000"}, "<i2"),
    "exotel": ("exotel", {"rate_hz": 16_000}, "<i2"),
}


@pytest.mark.parametrize(("carrier", "wide", "order"), WIDE.values(), ids=WIDE.keys())
async def test_a_sample_split_between_two_messages_is_heard_whole(
    carrier: str, wide: dict[str, Any], order: str
) -> None:
    async with line(carrier, **wide) as it:
        sound = tone(0.4, 16_000)
        data = sound.astype(order).tobytes()
        for at in range(0, len(data), 641):  # 20 ms and half a sample
            payload = base64.b64encode(data[at : at + 641]).decode()
            await it.caller.send_raw(media(payload))
        await asyncio.sleep(0.1)

        came = np.frombuffer(bytes(it.call.ears.audio), dtype="<i2").astype(int)
        spoken = came[np.flatnonzero(np.abs(came) > 200)[0] :][: sound.size]
        steps = np.abs(np.diff(spoken))
        assert loud_s(spoken, 16_000) == pytest.approx(0.4, abs=0.05)
        assert steps.max() < 3_000  # of a tone, one step is 1,400 at most; of torn samples 20,000
