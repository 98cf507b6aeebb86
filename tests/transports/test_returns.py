"""A call outlives its stream on every carrier that connects its caller again.

The caller hears every word once, unnoticed by the pipeline.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import groupby

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.frames.frames import (
    EndFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from bot.workers.pool import KeyValueStore
from calls.line import CallerLine
from lab.simulators.carrier.carrier import Carrier
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.twilio_server import RATE_HZ, Call, tone, until
from transports.leg_output import LineEnd
from transports.media_stream.tokens import Kept
from transports.parked import ParkedCall

pytestmark = pytest.mark.virtual_time

WORDS = ("one", "two", "three", "four", "five", "six")
WORD_S = 0.32
STEP_HZ = 200
LOOK = 160  # samples: 20 ms
RETURNING = pytest.mark.parametrize("carrier", ["twilio", "telnyx", "plivo"])
TWILIO_S = (0.1, 0.45, 0.7, 1.1, 1.4, 1.8)
LOSSES = [
    *(("twilio", None, at) for at in TWILIO_S),
    *(("twilio", code, 0.7) for code in (1011, 1000)),
    *((carrier, None, 0.7) for carrier in ("telnyx", "plivo")),
]


@asynccontextmanager
async def line(
    carrier: str = "twilio", *, returns_within_s: float = 30.0
) -> AsyncIterator[tuple[CarrierServer, Carrier, Call]]:
    """Answer a call of a carrier; a lost line may return."""
    async with (
        carrier_server(returns_within_s=returns_within_s) as it,
        it.caller(carrier) as caller,
    ):
        yield it, caller, await it.pool.call()


def sound(word: str) -> NDArray[np.int16]:
    """Return a word's own pitch, which identifies any piece of it."""
    return tone(WORD_S, STEP_HZ * (2 + WORDS.index(word)))


async def speak(call: Call, words: Sequence[str] = WORDS) -> None:
    """Send a sentence to the line, each word after its sound."""
    for word in words:
        await call.worker.queue_frame(TTSAudioRawFrame(sound(word).tobytes(), RATE_HZ, 1))
        await call.worker.queue_frame(TTSTextFrame(word, TextType.WORD))
    await call.worker.queue_frame(TTSStoppedFrame())


def heard(caller: Carrier) -> list[tuple[str, float]]:
    """Return the ear's sound in order: a word, and its consecutive seconds."""
    pcm = caller.heard()
    pieces = pcm[: pcm.size // LOOK * LOOK].reshape(-1, LOOK).astype(float)
    found = ((word, len(list(group)) * 0.02) for word, group in groupby(map(_word, pieces)))
    return [(word, seconds) for word, seconds in found if word]


def _word(piece: NDArray[np.float64]) -> str:
    if np.abs(piece).max() < 500:
        return ""
    hz = float(np.argmax(np.abs(np.fft.rfft(piece)))) * RATE_HZ / LOOK
    number = round(hz / STEP_HZ) - 2
    return WORDS[number] if 0 <= number < len(WORDS) else ""


def whole(caller: Carrier) -> list[str]:
    """Return the words that were heard from their beginning to their end."""
    return [word for word, seconds in heard(caller) if seconds > WORD_S - 0.05]


def torn(caller: Carrier) -> list[str]:
    """Return the words that were heard only in part."""
    return [word for word, seconds in heard(caller) if 0.05 < seconds <= WORD_S - 0.05]


async def so_far(caller: Carrier, spoken_s: float) -> None:
    """Wait until the ear has got this many seconds of speech."""
    await until(lambda: sum(e.end - e.start for e in caller.ear.bursts) > 0)
    begun_s = caller.ear.bursts[0].start / RATE_HZ
    await until(lambda: caller.now_s - begun_s >= spoken_s)


async def all_said(call: Call) -> None:
    await until(lambda: "stopped" in call.below.got)
    await asyncio.sleep(0.1)


@pytest.mark.parametrize(("carrier", "code", "after_s"), LOSSES)
async def test_an_answer_continues_at_the_first_unheard_word(
    carrier: str, code: int | None, after_s: float
) -> None:
    async with line(carrier) as (it, caller, call):
        await speak(call)
        await so_far(caller, after_s)
        await caller.break_off(code)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == [WORDS[int(after_s / WORD_S)]]
        assert call.below.got == [*WORDS, "stopped"]
        assert (it.pool.told, call.gone_for, len(it.pool.calls)) == ([], [], 1)
        assert caller.complaints == []


async def test_a_line_that_is_lost_twice_loses_no_word() -> None:
    async with line() as (_, caller, call):
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: whole(caller)[-1:] == ["three"])
        await asyncio.sleep(0.2)
        await caller.break_off(1011)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == ["two", "four"]
        assert len(caller.lost_at) == 2


async def test_a_line_lost_during_a_repetition_repeats_it_once_more() -> None:
    async with line() as (_, caller, call):
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: len(caller.ear.bursts) == 2 or torn(caller) == ["two", "two"])
        await asyncio.sleep(0.1)
        await caller.break_off()
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert set(torn(caller)) <= {"two"}


@RETURNING
async def test_the_caller_is_heard_on_the_new_stream(carrier: str) -> None:
    async with line(carrier) as (_, caller, call):
        await caller.say(tone(0.2))
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await asyncio.sleep(0.3)
        await caller.say(tone(0.2))
        await caller.press("5")
        await until(lambda: call.ears.keys == ["5"])

        came = np.frombuffer(bytes(call.ears.audio), dtype="<i2")
        assert np.count_nonzero(np.abs(came.astype(int)) > 500) / RATE_HZ > 0.3


async def test_speech_without_a_line_is_heard_when_there_is_one() -> None:
    async with line() as (_, caller, call):
        await asyncio.sleep(0.2)
        await caller.break_off()
        await speak(call)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == []


async def test_an_answer_continues_however_long_its_line_was_lost() -> None:
    async with line() as (it, caller, call):
        caller.action_s = away_s = 28.0
        await speak(call)
        await so_far(caller, 0.7)
        await caller.break_off()
        await asyncio.sleep(away_s)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == ["three"]
        assert call.below.got == [*WORDS, "stopped"]
        assert (it.pool.told, call.gone_for) == ([], [])


async def test_the_goodbye_is_heard_to_its_end_and_then_the_call_is_over() -> None:
    async with line() as (_, caller, call):
        await speak(call)
        await call.worker.queue_frame(EndFrame())
        await so_far(caller, 1.75)
        await caller.break_off()
        await asyncio.wait_for(caller.ended.wait(), 10)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == ["six"]
        assert caller.ended_by == "agent"
        assert len(caller.lost_at) == 2  # the second time we closed the socket
        assert call.gone_for == []


async def test_a_barge_in_on_the_new_stream_silences_it() -> None:
    async with line() as (_, caller, call):
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: whole(caller) == ["one", "two"])
        await asyncio.sleep(0.15)
        await call.worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(1)

        assert whole(caller) == ["one", "two"]
        assert call.below.got == ["one", "two", "interrupted"]


async def test_an_interruption_without_a_line_leaves_nothing_to_say() -> None:
    async with line() as (_, caller, call):
        caller.action_s = 2.0
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: bool(caller.lost_at))
        await call.worker.queue_frame(InterruptionFrame())
        await until(lambda: "interrupted" in call.below.got)
        await speak(call, ["six"])
        await all_said(call)

        assert whole(caller) == ["one", "six"]

        assert call.below.got == ["one", "interrupted", "six", "stopped"]


async def test_the_lines_clock_stops_while_it_is_lost() -> None:
    restored: list[float] = []
    async with line() as (it, caller, call):
        heard_line = CallerLine()
        call.leg.output().line_end = LineEnd(
            line=heard_line, heard=lambda _: None, clock=it.pool.clock, restored=restored.append
        )
        heard_line.add(len(WORDS) * WORD_S, it.pool.clock())
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: bool(restored))
        await until(lambda: call.below.got[-1:] == ["five"])

        left_s = WORD_S
        assert heard_line.queued_s(it.pool.clock()) == pytest.approx(left_s, abs=0.25)
        assert len(restored) == 1


async def test_a_caller_who_does_not_return_is_given_up_in_the_end() -> None:
    async with line() as (it, caller, call):
        began_s = it.pool.clock()
        caller.vanish()
        await asyncio.wait_for(call.over.wait(), 40)

        assert call.gone_for == ["connection_lost"]
        assert it.pool.clock() - began_s == pytest.approx(30, abs=0.5)


async def test_a_silent_line_is_closed_and_reconnected() -> None:
    async with line() as (_, caller, call):
        caller.frozen = True
        await until(lambda: len(caller.lost_at) == 1)
        caller.frozen = False
        await speak(call)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert call.gone_for == []


@pytest.mark.parametrize("after_s", [1.0, 7.0], ids=["1 s", "7 s"])
async def test_a_new_streams_pieces_are_heard_although_their_count_restarts(
    after_s: float,
) -> None:
    async with line("telnyx") as (_, caller, call):
        await asyncio.sleep(after_s)
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await asyncio.sleep(0.3)
        before = len(call.ears.audio)
        await caller.say(tone(0.2))
        await asyncio.sleep(6.0)  # a silent line is given up after 5 s

        assert len(call.ears.audio) - before >= 6.0 * 8000 * 2
        assert len(caller.lost_at) == 1


@RETURNING
async def test_a_caller_who_hung_up_is_not_connected_again(carrier: str) -> None:
    async with line(carrier) as (_, caller, call):
        await caller.hang_up()
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]
        assert caller.lost_at == []


@RETURNING
async def test_a_call_that_the_agent_ended_gets_no_other_stream(carrier: str) -> None:
    async with line(carrier) as (it, caller, call):
        it.telnyx.refuses["hangup"] = it.plivo.answer_with = it.twilio.answer_with = (
            500  # ours does not get through
        )
        await call.leg.hang_up()
        it.telnyx.refuses.clear()
        await asyncio.wait_for(caller.ended.wait(), 5)
        await call.worker.cancel()

        assert caller.ended_by == "agent"
        assert len(caller.lost_at) == 1
        assert len(it.pool.calls) == 1


@RETURNING
async def test_a_call_that_is_not_reconnected_ends(carrier: str) -> None:
    async with line(carrier, returns_within_s=2) as (_, caller, call):
        caller.action_s = 60.0
        await caller.break_off()
        await asyncio.wait_for(call.over.wait(), 10)

        assert call.gone_for == ["connection_lost"]


class StoredEpoch(KeyValueStore):
    """A store that is away, or says that a call has this epoch; ours is 1."""

    def __init__(self, stored: int | None) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self.stored = stored

    async def epoch(self, token: str) -> int:
        if self.stored is None:
            raise LookupError(token)
        return self.stored


@pytest.mark.parametrize(
    ("carrier", "lost", "stored", "ends"),
    [
        ("twilio", "", None, True),
        ("twilio", "stream", None, False),
        ("twilio", "media", None, False),
        ("twilio", "stream", 1, True),
        ("twilio", "media", 1, True),
        ("twilio", "stream", 2, False),
        ("twilio", "", 2, False),
        ("telnyx", "", 2, False),
        ("telnyx", "stream", 1, True),
        ("plivo", "", 2, False),
        ("plivo", "stream", 1, True),
    ],
)
async def test_an_order_needs_the_store_or_a_line_that_says_whose_the_call_is(
    carrier: str, lost: str, stored: int | None, *, ends: bool
) -> None:
    async with line(carrier, returns_within_s=2) as (it, caller, call):
        call.leg.parked = ParkedCall(StoredEpoch(stored), "parked c")
        caller.action_s = 60.0  # the carrier does not ask for another stream
        if lost == "stream":
            await caller.break_off()
        elif lost == "media":
            caller.frozen = True
        if lost:
            await asyncio.wait_for(call.over.wait(), 30)
        await call.leg.hang_up("call_over")
        await asyncio.sleep(1.0)
        ended = caller.ended_by
        await call.worker.cancel()
        await asyncio.sleep(1.0)
        key = f"{carrier} call {caller.phone.call_sid}"

        assert (ended == "agent") == ends
        # Another machine that may have the call needs what is stored of it.
        assert (await it.host.pool.key_values.read(key) is None) == ends


async def test_telnyxs_report_of_the_end_ends_a_waiting_call() -> None:
    async with line("telnyx") as (it, caller, call):
        caller.action_s = 60.0
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await it.news(caller, "call.hangup")
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]


@pytest.mark.parametrize("why_closed", ["", "full", "draining"])
async def test_a_repeated_event_is_handled_once(why_closed: str) -> None:
    async with line("telnyx") as (it, caller, _):
        it.pool.why_closed = why_closed
        await it.news(caller, "call.initiated")
        await it.news(caller, "call.answered")
        await it.news(caller, "call.speak.ended")

        ref = caller.phone.call_sid
        assert len(it.telnyx.commands_so_far(ref, "answer", "streaming_start")) == 2
        assert len(it.pool.calls) == 1
        assert it.pool.told == []


async def test_a_caller_who_waits_for_a_seat_goes_on_when_the_calls_process_wakes() -> None:
    async with line("telnyx") as (it, caller, _):
        ref = caller.phone.call_sid
        kept = asdict(Kept(call_sid=ref, lost_at=it.host.clock()))
        await it.host.pool.key_values.keep(f"telnyx call {ref}", kept, for_s=60.0)
        for _ in range(2):  # two webhooks about the loss have asked the caller to wait
            await it.news(caller, "call.speak.ended")

        assert len(it.telnyx.commands_so_far(ref, "streaming_start")) == 2
