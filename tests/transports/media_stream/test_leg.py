"""A call over Media Streams, with a caller at the far end of a real socket."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import numpy as np
import pytest
from fastapi import FastAPI, WebSocket
from loguru import logger
from numpy.typing import NDArray
from pipecat.frames.frames import InterruptionFrame, TTSAudioRawFrame
from pydantic import SecretStr

from calls.events import InputRefused, ProviderFailed
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.rest import CarrierRest
from tests.transports.twilio_server import RATE_HZ, TOKEN, Call, pool, serving, tone, until
from tests.virtual_time import VirtualLoop
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import MULAW
from transports.media_stream.stream import Stream
from transports.twilio.dialect import TWILIO
from transports.twilio.rest import TwilioRest

pytestmark = pytest.mark.virtual_time

ACCOUNT = "AC" + "0" * 32
MEDIA = json.dumps({"event": "media", "media": {"payload": "////" * 53 + "/w=="}})


def loud_s(pcm: NDArray[np.int16]) -> float:
    """Seconds of sound, counted in stretches of 5 ms."""
    frames = np.abs(pcm[: len(pcm) // 40 * 40].astype(int)).reshape(-1, 40).max(axis=1)
    return np.count_nonzero(frames > 200) * 40 / RATE_HZ


async def test_our_own_stall_leaves_no_gap_for_the_caller() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()

        await call.say(tone(0.8, 300))
        await asyncio.sleep(0.2)
        time.sleep(0.07)  # noqa: ASYNC251 - the point is to block the loop
        heard = await caller.listen(quiet_s=0.2)

        assert len(caller.ear.bursts) == 1
        burst = caller.ear.bursts[0]
        assert burst.end - burst.start == pytest.approx(0.8 * RATE_HZ, abs=0.01 * RATE_HZ)
        assert heard.size


async def test_our_own_stall_during_speech_tears_no_word() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()

        await call.say(tone(0.8, 300))
        await asyncio.sleep(0.2)
        cast("VirtualLoop", asyncio.get_running_loop()).clock.now += 0.25
        await caller.listen(quiet_s=0.2)

        burst = caller.ear.bursts[0]
        assert burst.end - burst.start == pytest.approx(0.8 * RATE_HZ, abs=2)


async def test_a_barge_in_removes_no_protected_sound() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        notice = TTSAudioRawFrame(tone(0.8).tobytes(), RATE_HZ, 1)
        notice.interruptible = False

        await call.worker.queue_frame(notice)
        await until(lambda: call.leg.played_s() > 0.1)
        await call.worker.queue_frame(InterruptionFrame())
        await caller.listen(quiet_s=0.2)

        assert loud_s(caller.heard()) == pytest.approx(0.8, abs=0.05)


async def test_a_piece_after_a_barge_in_is_not_played() -> None:
    async with pool() as it, Carrier(it.url, TOKEN):
        call = await it.call()
        piece = TTSAudioRawFrame(tone(0.04).tobytes(), RATE_HZ, 1)

        await call.worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(0.1)

        assert not await call.leg.output().write_audio_frame(piece)
        piece = TTSAudioRawFrame(tone(0.04).tobytes(), RATE_HZ, 1)
        assert await call.leg.output().write_audio_frame(piece)


async def test_a_caller_who_hangs_up_leaves_no_error() -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING")
    try:
        async with pool() as it, Carrier(it.url, TOKEN) as caller:
            call = await it.call()
            await call.say(tone(1.0))
            await until(lambda: bool(caller.ear.bursts))
            await caller.hang_up()
            await asyncio.wait_for(call.over.wait(), 5)
    finally:
        logger.remove(sink)

    assert lines == []


@asynccontextmanager
async def impatient_leg(
    calls: list[Call], *, stalled_s: float
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Answer a bare media socket with a leg that waits a shorter time for media."""
    app = FastAPI()

    @app.websocket("/")
    async def answer(websocket: WebSocket) -> None:
        await websocket.accept()
        leg = StreamLeg(
            websocket,
            CarriedCall(call_ref="CA1"),
            Stream(dialect=TWILIO, stream_id="MZ1", ours=MULAW, theirs=MULAW),
            emit=lambda _: None,
            clock=time.monotonic,
            patience=LinePatience(stalled_s=stalled_s),
        )
        calls.append(Call(leg))
        await calls[0].run()

    async with (
        serving(app) as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{port}/") as socket,
    ):
        yield socket


async def test_a_line_without_media_is_stalled() -> None:
    calls: list[Call] = []

    async with impatient_leg(calls, stalled_s=0.15) as silent:
        await asyncio.wait_for(silent.receive(), 5)

    assert calls[0].gone_for == ["stalled"]


async def test_our_own_stall_is_not_taken_for_a_stalled_line() -> None:
    calls: list[Call] = []

    async with impatient_leg(calls, stalled_s=0.3) as socket:
        for tick in range(25):
            await socket.send_str(MEDIA)
            await asyncio.sleep(0.02)
            if tick == 15:
                time.sleep(0.5)  # noqa: ASYNC251 - the point is to block the loop
        assert calls[0].gone_for == []


async def test_a_message_over_the_servers_own_limit_loses_the_line_and_not_the_call() -> None:
    async with (
        pool(returns_within_s=30) as it,
        Carrier(it.url, TOKEN) as caller,
    ):
        call = await it.call()

        await caller.send_raw("x" * 1_000_000)
        await until(lambda: len(caller.lost_at) == 1)
        await call.say(tone(0.2))
        heard = await caller.listen(quiet_s=0.1)

        assert loud_s(heard) == pytest.approx(0.2, abs=0.05)
        assert it.told == [InputRefused(transport="twilio", reason="message_too_big")]


async def test_a_flood_of_audio_is_not_kept() -> None:
    second = json.dumps({"event": "media", "media": {"payload": "////" * 2666}})

    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        for _ in range(60):
            await caller.send_raw(second)
        await caller.press("1")  # read after the flood
        await until(lambda: call.ears.keys == ["1"])

        assert len(call.ears.audio) / 2 / RATE_HZ < 8
        assert InputRefused(transport="twilio", reason="audio_faster_than_time") in it.told


async def test_hanging_up_ends_the_call_at_twilio() -> None:
    async with CarrierRest(ACCOUNT, TOKEN) as office:
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=office.url)
        async with pool(rest=rest) as it, Carrier(it.url, TOKEN) as caller:
            office.register_call(caller)
            call = await it.call()

            await call.leg.hang_up()
            await call.leg.hang_up()

            assert office.requests == [(caller.phone.call_sid, "completed")]
            assert caller.ended_by == "agent"
            await call.worker.cancel()
            assert call.gone_for == []
            assert it.told == []


async def test_a_call_ended_by_the_caller_is_not_ended_again_at_twilio() -> None:
    async with CarrierRest(ACCOUNT, TOKEN) as office:
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr(TOKEN), api_url=office.url)
        async with pool(rest=rest) as it, Carrier(it.url, TOKEN) as caller:
            call = await it.call()
            await caller.hang_up()
            await asyncio.wait_for(call.over.wait(), 5)

            await call.leg.hang_up()

            assert office.requests == []


async def test_a_refused_hang_up_is_reported_and_the_line_closed_anyway() -> None:
    async with CarrierRest(ACCOUNT, TOKEN) as office:
        rest = TwilioRest(account_sid=ACCOUNT, auth_token=SecretStr("other"), api_url=office.url)
        async with pool(rest=rest) as it, Carrier(it.url, TOKEN) as caller:
            call = await it.call()

            await call.leg.hang_up()
            await asyncio.wait_for(caller.ended.wait(), 5)

            assert it.told == [
                ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401")
            ]
            await call.worker.cancel()


async def test_hanging_up_without_credentials_closes_the_line() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()

        await call.leg.hang_up()
        await asyncio.wait_for(caller.ended.wait(), 5)

        assert caller.close_code == 1000
        await call.worker.cancel()


async def test_hanging_up_on_a_caller_who_has_gone_is_harmless() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        caller.vanish()
        await asyncio.wait_for(call.over.wait(), 5)

        await call.leg.hang_up()

        assert call.gone_for == ["connection_lost"]
