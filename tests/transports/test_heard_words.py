"""Words enter the assistant's memory when the carrier reports that their sound was played."""

import asyncio

import pytest
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
from lab.simulators.carrier.line import CarrierEar
from tests.transports.carrier_server import carrier_server
from tests.transports.twilio_server import RATE_HZ, TOKEN, Call, pool, tone, until
from transports.leg_output import LineEnd

pytestmark = pytest.mark.virtual_time

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
WORD_S = 0.3


async def speak(call: Call, *, interruptible: bool = True) -> None:
    """Send a sentence to the line, each word after its sound."""
    frames = []
    for word in WORDS:
        frames.append(TTSAudioRawFrame(tone(WORD_S).tobytes(), RATE_HZ, 1))
        frames.append(TTSTextFrame(word, TextType.WORD))
    for frame in (*frames, TTSStoppedFrame()):
        frame.interruptible = interruptible
        await call.worker.queue_frame(frame)


def heard_s(caller: Carrier) -> float:
    """Return the seconds of speech that the caller's ear got."""
    return sum(burst.end - burst.start for burst in caller.ear.bursts) / RATE_HZ


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000])
async def test_words_for_a_carrier_of_long_pieces_are_known_while_they_are_spoken(
    rate_hz: int,
) -> None:
    async with carrier_server(rate_hz=rate_hz) as it, it.caller("exotel") as caller:
        call = await it.pool.call()
        hz = call.leg.facts.sample_rate_hz
        for word in WORDS:
            sound = tone(WORD_S * hz / RATE_HZ, 440 * RATE_HZ / hz).tobytes()
            await call.worker.queue_frame(TTSAudioRawFrame(sound, hz, 1))
            await call.worker.queue_frame(TTSTextFrame(word, TextType.WORD))
        await call.worker.queue_frame(TTSStoppedFrame())
        await until(lambda: bool(caller.ear.bursts))
        begun_s = caller.ear.bursts[0].start / rate_hz
        known: list[int] = []
        for words in range(1, len(WORDS) + 1):
            await until(lambda words=words: caller.now_s - begun_s >= words * WORD_S)
            known.append(len(call.below.got))
        await until(lambda: "stopped" in call.below.got)

        assert all(number - 2 <= got <= number for number, got in enumerate(known, start=1))
        assert call.below.got == [*WORDS, "stopped"]


async def test_a_barge_in_keeps_exactly_the_words_that_the_callers_ear_got() -> None:
    for words in (2.5, 4.5, 6.6):
        async with pool() as it, Carrier(it.url, TOKEN) as caller:
            call = await it.call()
            await speak(call)
            await until(lambda caller=caller, words=words: heard_at(caller, words * WORD_S))
            await call.worker.queue_frame(InterruptionFrame())
            await until(lambda call=call: "interrupted" in call.below.got)
            await asyncio.sleep(0.5)

            whole = int(heard_s(caller) / WORD_S)
            assert call.below.got == [*WORDS[:whole], "interrupted"]


def heard_at(caller: Carrier, length_s: float) -> bool:
    """Return whether the ear has got this much speech by now."""
    bursts = caller.ear.bursts
    return bool(bursts) and caller.now_s - bursts[0].start / RATE_HZ >= length_s


async def test_nothing_is_lost_or_out_of_order_when_the_call_ends() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await speak(call)
        await call.worker.queue_frame(EndFrame())
        await call.over.wait()

        assert call.below.got == [*WORDS, "stopped"]
        assert heard_s(caller) == pytest.approx(len(WORDS) * WORD_S, abs=0.05)


async def test_a_word_is_not_remembered_before_the_caller_has_heard_it() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await speak(call)
        await until(lambda: "three" in call.below.got)

        assert heard_at(caller, 3 * WORD_S - 0.01)


async def test_a_far_end_that_echoes_no_marks_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CarrierEar, "mark", lambda *_: None)
    async with pool() as it, Carrier(it.url, TOKEN):
        call = await it.call()
        await speak(call)
        await until(lambda: "stopped" in call.below.got)
        first = list(call.below.got)
        await speak(call)
        await until(lambda: call.below.got.count("one") == 2)

    assert first == [*WORDS, "stopped"]
    assert it.reasons().count("mark_not_echoed") == 1


async def test_protected_words_are_remembered_although_the_caller_spoke() -> None:
    async with pool() as it, Carrier(it.url, TOKEN):
        call = await it.call()
        await speak(call, interruptible=False)
        await until(lambda: "two" in call.below.got)
        await call.worker.queue_frame(InterruptionFrame())
        await until(lambda: "stopped" in call.below.got)

    assert [text for text in call.below.got if text != "interrupted"] == [*WORDS, "stopped"]


async def test_marks_correct_when_the_line_runs_dry() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call, line = await it.call(), CallerLine()
        call.leg.output().line_end = LineEnd(line=line, heard=lambda _: None, clock=it.clock)
        line.add(len(WORDS) * WORD_S, it.clock() - 1.0)  # believed to be ahead of the ear
        await speak(call)
        await until(lambda: "two" in call.below.got)

        left_s = len(WORDS) * WORD_S - (caller.now_s - caller.ear.bursts[0].start / RATE_HZ)
        assert line.queued_s(it.clock()) == pytest.approx(left_s, abs=0.25)
