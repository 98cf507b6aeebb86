"""The contract of every recogniser, and of one whose connection the stage restores."""

import asyncio
import time
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData

from fallbacks.events import Suspected
from fallbacks.failure import Failure, Kind, ServiceError
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window
from providers.provider import Stage
from tests.kit.bench import QUIET_S, Bench, running, text_of
from tests.kit.caller import frames_of, words
from tests.lab.simulators import synthetic_caller as caller
from tests.lab.simulators.near_ears import bring_near
from tests.processors.hearing.stt_call import on_stage
from tests.providers.conformance import PHONE_HZ, RATE_HZ, Conformance, Simulated

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

    async def give_work(self, bench: Bench) -> None:
        await bench.put(*utterance(FIRST))

    async def finish_work(self, bench: Bench) -> None:
        assert words(await self.hears(bench, FIRST)) == words(FIRST)

    async def hears(self, bench: Bench, text: str, *, rate_hz: int = RATE_HZ) -> str:
        """Speak an utterance and return the recognised words."""
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
            await bench.until(
                lambda: any(interim.text for interim in bench.all(InterimTranscriptionFrame))
            )

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
            await self.break_peer(peer, bench)
            await bench.first(ErrorFrame)
            await self.wait_until_mended(peer, bench)

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
        await self.check_nothing_left(peer, bench)

    async def test_heard_sound_is_measured_in_seconds(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.hears(bench, FIRST)

        used = bench.measured(STTUsageMetricsData)
        sent_s = len(utterance(FIRST)[:-2]) * 0.02
        assert {measured.model for measured in used} == {self.model}
        assert sum(measured.value.audio_seconds for measured in used) == pytest.approx(
            sent_s, abs=0.05
        )


def failure_in(bench: Bench) -> Failure:
    """Return the failure in the service's first error."""
    error = bench.all(ErrorFrame)[0].exception
    assert isinstance(error, ServiceError)
    return error.failure


PIECE = bytes(640)  # 20 ms
TWICE = (Window(fault=faults.Duplicate()),)
ENDS: dict[str, tuple[Fault, Kind]] = {
    "reset": (faults.Cut(after_words=0), Kind.NETWORK),
    "polite close": (faults.Cut(after_words=0, how="close"), Kind.CUT),
    "error": (faults.Cut(after_words=0, how="error"), Kind.OVERLOADED),
    "401": (faults.Http(status=401), Kind.AUTH),
    "429": (faults.Http(status=429, retry_after_s=7.0), Kind.RATE_LIMITED),
    "503": (faults.Http(status=503), Kind.OVERLOADED),
}


class SimulatedStt(SttConformance, Simulated):
    """The contract of a recogniser that leaves its connection to the stage (`Supervised`)."""

    options: ClassVar[dict[str, Any]] = {"grammar": PHRASES}

    def service(self, peer: Instance, **changes: Any) -> Any:
        """Return the service as the stage prepares it."""
        service = super().service(peer, **changes)
        service.supervised = True
        return service

    async def wait_until_mended(self, peer: Instance, bench: Bench) -> None:
        """Reconnect, as the stage does in a call."""
        del peer
        assert await bench.service.reconnect()

    async def test_a_wrong_key_is_refused_and_reported(self, peer: Instance) -> None:
        async with running(self.service(peer, api_key="not-the-key")) as bench:
            await bench.first(ErrorFrame)

        assert failure_in(bench).kind is Kind.AUTH
        assert "not-the-key" not in "".join(bench.errors())

    @pytest.mark.parametrize("windows", [(), TWICE], ids=["healthy", "everything twice"])
    async def test_the_stage_reads_the_whole_utterance_and_blames_no_rung(
        self, windows: tuple[Window, ...]
    ) -> None:
        spec = Spec(name="it", kind=self.kind, options=self.options)
        async with bring_near(Lab([spec])) as lab:
            lab.instance("it").set_faults(windows)
            rungs = {"it": self.service(lab.instance("it"))}
            async with on_stage(rungs, lab=lab, pace=1.0) as call:
                said = [await call.says(phrase) for phrase in PHRASES]
                await call.silence(3.0)

                assert [words(item) for item in said] == [words(phrase) for phrase in PHRASES]
                assert call.asked == ["it", "it"]
                assert call.failures == []
                assert not call.facts(Suspected)

    @pytest.mark.parametrize(("fault", "kind"), ENDS.values(), ids=ENDS.keys())
    async def test_a_lost_stream_is_reported_once_with_its_reason_and_without_an_action(
        self, peer: Instance, fault: Fault, kind: Kind
    ) -> None:
        peer.set_faults([Window(fault=fault)])
        async with running(self.service(peer)) as bench:
            await bench.first(ErrorFrame)
            await asyncio.sleep(0.1)

            assert failure_in(bench).kind is kind
            assert len(bench.all(ErrorFrame)) == 1
            assert len(peer.record.requests("it")) == 1
            assert not bench.service.connected
            assert bench.service.is_usable  # whether it may be asked is not the service's decision

    async def test_it_reconnects_when_told_to(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            peer.drop_connections()
            await bench.first(ErrorFrame)

            assert await bench.service.reconnect()
            assert bench.service.connected

    async def test_a_refused_reconnection_is_reported(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Http(status=503))])
        async with running(self.service(peer)) as bench:
            await bench.first(ErrorFrame)

            assert not await bench.service.reconnect()
            await bench.until(lambda: len(bench.all(ErrorFrame)) == 2)

    @pytest.mark.virtual_time
    async def test_a_hanging_handshake_is_soon_given_up_for_another(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            peer.drop_connections()
            await bench.first(ErrorFrame)
            peer.set_faults([Window(fault=faults.Silent(where="handshake"))])
            began = time.monotonic()

            connected = await bench.service.reconnect()

            took_s = time.monotonic() - began
            peer.set_faults([])
            assert not connected
            assert took_s < 4.0
            assert await bench.service.reconnect()

    async def test_sound_sent_directly_does_not_overtake_queued_sound(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            await bench.service.queue_frame(InputAudioRawFrame(PIECE, RATE_HZ, 1))
            assert not bench.service.send_at_once(PIECE)

            await asyncio.sleep(0.1)

            assert bench.service.send_at_once(PIECE)
            assert not bench.errors()

    async def test_sound_sent_directly_is_accepted_and_billed_as_usual(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            for _ in range(100):
                assert bench.service.send_at_once(PIECE)
            await bench.service.emit_stt_usage_metrics()
            await bench.until(lambda: bench.measured(STTUsageMetricsData))

            (used,) = bench.measured(STTUsageMetricsData)
            assert used.value.audio_seconds == pytest.approx(2.0)

    async def test_nothing_is_sent_directly_into_a_lost_stream(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            peer.drop_connections()
            await bench.first(ErrorFrame)

            assert not bench.service.send_at_once(PIECE)
            bench.service.ask_for_words()  # does nothing, without an error

    async def test_requested_words_come_without_an_event_of_the_vad(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(VADUserStartedSpeakingFrame())
            for frame in frames_of(caller.say(FIRST) + caller.noise(0.2, rms=3)):
                assert bench.service.send_at_once(frame.audio)
                await asyncio.sleep(0.02)
            bench.service.ask_for_words()
            answer = await bench.first(TranscriptionFrame)

            assert words(answer.text) == words(FIRST)
            assert answer.finalized
            assert not bench.errors()

    async def test_no_words_are_requested_while_sound_is_still_queued_before_them(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            await bench.service.queue_frame(InputAudioRawFrame(PIECE, RATE_HZ, 1))
            bench.service.ask_for_words()
            await asyncio.sleep(1.0)

            assert bench.all(TranscriptionFrame) == []
            assert len(peer.record.requests("it")) == 1

    async def test_a_stop_after_silence_is_answered_by_a_frame_without_words(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(*frames_of(caller.noise(1.5, rms=3)))
            await bench.put(VADUserStartedSpeakingFrame(), VADUserStoppedSpeakingFrame())
            answer = await bench.first(TranscriptionFrame)

            assert (answer.text, answer.finalized) == ("", True)
