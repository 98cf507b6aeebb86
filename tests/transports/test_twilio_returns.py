"""A call outlives its stream: the caller hears every word once, unnoticed by the pipeline."""

import asyncio
from collections.abc import Sequence
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

from calls.line import CallerLine
from lab.simulators.carrier.carrier import Carrier
from tests.transports.twilio_server import RATE_HZ, TOKEN, Call, pool, tone, until
from transports.leg_output import LineEnd

pytestmark = pytest.mark.virtual_time

WORDS = ("one", "two", "three", "four", "five", "six")
WORD_S = 0.32
STEP_HZ = 200
LOOK = 160  # samples: 20 ms
WAYS = pytest.mark.parametrize("code", [None, 1011, 1000], ids=["reset", "1011", "1000"])


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
    """Return the words that were heard at least in part."""
    return [word for word, seconds in heard(caller) if 0.05 < seconds <= WORD_S - 0.05]


async def so_far(caller: Carrier, spoken_s: float) -> None:
    """Wait until the ear has got this many seconds of speech."""
    await until(lambda: sum(e.end - e.start for e in caller.ear.bursts) > 0)
    begun_s = caller.ear.bursts[0].start / RATE_HZ
    await until(lambda: caller.now_s - begun_s >= spoken_s)


async def all_said(call: Call) -> None:
    await until(lambda: "stopped" in call.below.got)
    await asyncio.sleep(0.1)


@WAYS
@pytest.mark.parametrize("after_s", [0.1, 0.45, 0.7, 1.1, 1.4, 1.8])
async def test_an_answer_continues_at_the_first_unheard_word(
    code: int | None, after_s: float
) -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await speak(call)
        await so_far(caller, after_s)
        await caller.break_off(code)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == [WORDS[int(after_s / WORD_S)]]
        assert call.below.got == [*WORDS, "stopped"]
        assert (it.told, call.gone_for, len(it.calls)) == ([], [], 1)


async def test_a_line_that_is_lost_twice_loses_no_word() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
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
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: len(caller.ear.bursts) == 2 or torn(caller) == ["two", "two"])
        await asyncio.sleep(0.1)
        await caller.break_off()
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert set(torn(caller)) <= {"two"}


async def test_the_caller_is_heard_on_the_new_stream() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await caller.say(tone(0.2))
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await asyncio.sleep(0.1)
        await caller.say(tone(0.2))
        await caller.press("5")
        await until(lambda: call.ears.keys == ["5"])

        came = np.frombuffer(bytes(call.ears.audio), dtype="<i2")
        assert np.count_nonzero(np.abs(came.astype(int)) > 500) / RATE_HZ > 0.3


async def test_speech_without_a_line_is_heard_when_there_is_one() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await asyncio.sleep(0.2)
        await caller.break_off()
        await speak(call)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == []


@pytest.mark.parametrize("away_s", [11.0, 28.0], ids=["11 s", "28 s"])
async def test_an_answer_continues_however_long_its_line_was_lost(away_s: float) -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        caller.action_s = away_s
        await speak(call)
        await so_far(caller, 0.7)
        await caller.break_off()
        await asyncio.sleep(away_s)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == ["three"]
        assert call.below.got == [*WORDS, "stopped"]
        assert (it.told, call.gone_for) == ([], [])


async def test_the_goodbye_is_heard_to_its_end_and_then_the_call_is_over() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
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
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
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
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
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
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call, line = await it.call(), CallerLine()
        call.leg.output().line_end = LineEnd(
            line=line, heard=lambda _: None, clock=it.clock, restored=restored.append
        )
        line.add(len(WORDS) * WORD_S, it.clock())
        await speak(call)
        await so_far(caller, 0.45)
        await caller.break_off()
        await until(lambda: bool(restored))
        await until(lambda: call.below.got[-1:] == ["five"])

        left_s = WORD_S
        assert line.queued_s(it.clock()) == pytest.approx(left_s, abs=0.25)
        assert len(restored) == 1


async def test_a_caller_who_does_not_return_is_given_up_in_the_end() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        began_s = it.clock()
        caller.vanish()
        await asyncio.wait_for(call.over.wait(), 40)

        assert call.gone_for == ["connection_lost"]
        assert it.clock() - began_s == pytest.approx(30, abs=0.5)


async def test_a_silent_line_is_closed_and_reconnected() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        caller.frozen = True
        await until(lambda: len(caller.lost_at) == 1)
        caller.frozen = False
        await speak(call)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert call.gone_for == []
