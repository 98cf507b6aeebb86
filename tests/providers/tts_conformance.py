"""The contract of every voice."""

import asyncio
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.metrics.metrics import TTSUsageMetricsData

from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.schedule import Window
from providers.provider import Stage
from tests.kit.bench import QUIET_S, Bench, running, text_of
from tests.providers.conformance import PHONE_HZ, RATE_HZ, Conformance, Simulated

HELLO = "Hello there, how are you today?"
NEXT = "That is fine, thank you."
LONG = " ".join(f"This is the sentence with the number {index}." for index in range(60))


class TtsConformance(Conformance):
    """The contract of a voice."""

    stage: ClassVar[Stage] = "tts"

    async def give_work(self, bench: Bench) -> None:
        await bench.put(*reply(HELLO))

    async def finish_work(self, bench: Bench) -> None:
        assert await self.says(bench, HELLO) == HELLO

    async def says(self, bench: Bench, *sentences: str) -> str:
        """Speak a reply, and return the words that are reported as heard."""
        since = len(bench.out)
        await bench.put(*reply(*sentences))
        await bench.first(LLMFullResponseEndFrame, since=since)
        return text_of(bench.all(TTSTextFrame, since=since))

    async def test_it_streams_audio_between_a_start_and_a_stop(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.says(bench, HELLO)
            await bench.first(TTSStoppedFrame)

        assert len(bench.all(TTSAudioRawFrame)) > 3
        assert bench.index(TTSStartedFrame) < bench.index(TTSAudioRawFrame)
        assert isinstance(bench.out[bench.index(TTSStoppedFrame) :][0], TTSStoppedFrame)
        assert not bench.all(TTSAudioRawFrame, since=bench.index(TTSStoppedFrame))
        assert not bench.errors()

    @pytest.mark.parametrize("rate_hz", [PHONE_HZ, RATE_HZ, 24_000])
    async def test_it_speaks_at_the_legs_rate(self, peer: Any, rate_hz: int) -> None:
        service = self.service(peer, sample_rate_hz=rate_hz)
        async with running(service, rate_hz=rate_hz) as bench:
            await self.says(bench, HELLO)

        audio = bench.all(TTSAudioRawFrame)
        spoken_s = sum(len(frame.audio) for frame in audio) / 2 / rate_hz
        assert {frame.sample_rate for frame in audio} == {rate_hz}
        assert 1.0 < spoken_s < 4.0  # another rate would halve or double it

    async def test_its_words_are_those_of_the_text_and_each_has_its_time(self, peer: Any) -> None:
        if not self.entry.facts.word_times:
            pytest.skip("this voice reports no word times; the ledger estimates them")
        async with running(self.service(peer)) as bench:
            heard = await self.says(bench, HELLO, NEXT)

        times = [frame.pts for frame in bench.all(TTSTextFrame)]
        audio_s = sum(len(f.audio) for f in bench.all(TTSAudioRawFrame)) / 2 / RATE_HZ
        assert heard == f"{HELLO} {NEXT}"
        assert times == sorted(times)
        assert 0.5 * audio_s < (times[-1] - times[0]) / 1e9 < audio_s

    async def test_the_end_of_the_reply_flushes_an_unfinished_sentence(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            heard = await self.says(bench, "and one more thing")

        assert heard == "and one more thing"
        assert bench.all(TTSAudioRawFrame)

    async def test_speech_outside_a_reply_is_spoken(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(TTSSpeakFrame(HELLO))
            await bench.first(TTSStoppedFrame)

        assert text_of(bench.all(TTSTextFrame)) == HELLO

    async def test_a_barge_in_ends_the_speech_and_none_of_it_comes_late(self, peer: Any) -> None:
        self.late(peer)
        async with running(self.service(peer)) as bench:
            await bench.put(*reply(LONG))
            await bench.first(TTSAudioRawFrame)
            await bench.put(InterruptionFrame())
            await bench.first(InterruptionFrame)
            cut = bench.index(InterruptionFrame)
            await asyncio.sleep(QUIET_S)
            assert not bench.all(TTSAudioRawFrame, since=cut)

            heard = await self.says(bench, NEXT)

        assert heard == NEXT
        if self.entry.facts.word_times:  # without, Pipecat pushes the words of all text at once
            assert len(text_of(bench.all(TTSTextFrame)).split()) < len(LONG.split())

    async def test_it_is_used_again_after_an_error(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.says(bench, HELLO)
            await self.break_peer(peer, bench)
            await self.wait_until_mended(peer, bench)

            assert await self.says(bench, NEXT) == NEXT

    async def test_nothing_comes_out_after_a_cancel(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(*reply(LONG))
            await bench.first(TTSAudioRawFrame)
            await bench.worker.cancel()
            await asyncio.sleep(QUIET_S)

        assert not bench.all(TTSAudioRawFrame, since=bench.index(CancelFrame))

    async def test_it_closes_with_the_call_and_leaves_nothing(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.says(bench, HELLO)

        await self.check_nothing_left(peer, bench)

    async def test_spoken_text_is_measured_in_characters(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.says(bench, HELLO)

        used = bench.measured(TTSUsageMetricsData)
        assert {measured.model for measured in used} == {self.model}
        assert sum(measured.value for measured in used) == pytest.approx(len(HELLO), abs=1)

    def late(self, peer: Any) -> None:
        """Make the provider send output after a cancel, if it can."""


class SimulatedTts(TtsConformance, Simulated):
    """A voice that the lab simulates."""

    async def break_peer(self, peer: Instance, bench: Bench) -> None:
        await self.cut(peer, bench, faults.Cut(after_words=2))

    async def cut(self, peer: Instance, bench: Bench, fault: Fault) -> None:
        since = len(bench.out)
        peer.set_faults([Window(fault=fault)])
        await bench.put(*reply(HELLO))
        await bench.first(TTSAudioRawFrame, since=since)
        await asyncio.sleep(QUIET_S)
        peer.clear()
        await bench.put(InterruptionFrame())
        await bench.first(InterruptionFrame, since=since)

    def late(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.LateAfterCancel(delay_s=0.3))])


def reply(*sentences: str) -> list[Frame]:
    """Return a reply as a language model streams it, word by word."""
    tokens = " ".join(sentences).split(" ")
    streamed = [LLMTextFrame(f" {each}" if at else each) for at, each in enumerate(tokens)]
    return [LLMFullResponseStartFrame(), *streamed, LLMFullResponseEndFrame()]
