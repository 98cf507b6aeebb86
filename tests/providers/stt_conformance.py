"""The contract of every recogniser."""

import asyncio
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData

from providers.provider import Stage
from tests.kit.bench import QUIET_S, Bench, running, text_of
from tests.kit.caller import frames_of, words
from tests.lab.simulators import synthetic_caller as caller
from tests.providers.conformance import PHONE_HZ, RATE_HZ, Conformance

FIRST = "When are you open on Saturday?"
SECOND = "I would like to book an appointment."
PHRASES = (FIRST, SECOND)


def utterance(text: str, *, rate_hz: int = RATE_HZ) -> list[Frame]:
    """Return a caller's utterance as the pipeline's VAD frames it."""
    before = caller.silence(0.5, rate_hz=rate_hz)
    spoken = caller.say(text, rate_hz=rate_hz)
    after = caller.silence(0.25, rate_hz=rate_hz)
    audio = frames_of(before + spoken + after, rate_hz)
    detected = round((0.5 + 0.2) * 50)  # the VAD takes 0.2 s to be sure
    return [
        *audio[:detected],
        VADUserStartedSpeakingFrame(),
        *audio[detected:],
        VADUserStoppedSpeakingFrame(stop_secs=0.2),
    ]


class SttConformance(Conformance):
    """The contract of a recogniser."""

    stage: ClassVar[Stage] = "stt"

    async def asked(self, bench: Bench) -> None:
        await bench.put(*utterance(FIRST))

    async def used(self, bench: Bench) -> None:
        assert words(await self.hears(bench, FIRST)) == words(FIRST)

    async def hears(self, bench: Bench, text: str, *, rate_hz: int = RATE_HZ) -> str:
        """Say something and return the recognised words."""
        since = len(bench.out)
        await bench.put(*utterance(text, rate_hz=rate_hz))
        await bench.until(
            lambda: any(f.finalized for f in bench.all(TranscriptionFrame, since=since))
        )
        return text_of(bench.all(TranscriptionFrame, since=since))

    async def test_it_starts_and_reports_how_long_its_finals_take(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            told = await bench.first(STTMetadataFrame)

        assert 0 < told.ttfs_p99_latency < 1

    async def test_it_streams_interim_results_while_the_caller_speaks(self, peer: Any) -> None:
        speech = utterance(SECOND)
        async with running(self.service(peer)) as bench:
            await bench.put(*speech[:-1])
            interim = await bench.first(InterimTranscriptionFrame)

        assert interim.text

    async def test_the_end_of_speech_flushes_a_finalized_result(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            assert words(await self.hears(bench, FIRST)) == words(FIRST)

        assert not bench.errors()

    async def test_it_hears_one_utterance_after_another(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            heard = [await self.hears(bench, text) for text in (FIRST, SECOND, FIRST)]

        assert [words(item) for item in heard] == [words(item) for item in (FIRST, SECOND, FIRST)]

    async def test_it_hears_a_telephone(self, peer: Any) -> None:
        service = self.service(peer, sample_rate_hz=PHONE_HZ)
        async with running(service, rate_hz=PHONE_HZ) as bench:
            heard = await self.hears(bench, SECOND, rate_hz=PHONE_HZ)

        assert words(heard) == words(SECOND)

    async def test_a_barge_in_does_not_deafen_it(self, peer: Any) -> None:
        *speech, stop = utterance(FIRST)
        async with running(self.service(peer)) as bench:
            await bench.put(*speech, InterruptionFrame(), stop)
            final = await bench.first(TranscriptionFrame)

        assert words(final.text) == words(FIRST)

    async def test_it_is_used_again_after_an_error(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.hears(bench, FIRST)
            await self.broken(peer, bench)
            await bench.first(ErrorFrame)
            await self.mended(peer, bench)

            assert words(await self.hears(bench, SECOND)) == words(SECOND)

    async def test_nothing_comes_out_after_a_cancel(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.hears(bench, FIRST)
            since = len(bench.out)
            await bench.put(*utterance(SECOND))
            await bench.worker.cancel()
            await asyncio.sleep(QUIET_S)

        after = bench.out[bench.index(CancelFrame, since=since) :]
        assert not [frame for frame in after if isinstance(frame, TranscriptionFrame)]

    async def test_it_closes_with_the_call_and_leaves_nothing(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(*utterance(FIRST))

        assert bench.all(EndFrame)
        await self.nothing_left(peer, bench)

    async def test_heard_sound_is_measured_in_seconds(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.hears(bench, FIRST)

        used = bench.measured(STTUsageMetricsData)
        sent_s = len(utterance(FIRST)[:-2]) * 0.02
        assert {measured.model for measured in used} == {self.model}
        assert sum(measured.value.audio_seconds for measured in used) == pytest.approx(
            sent_s, abs=0.05
        )
