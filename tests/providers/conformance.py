"""What every provider of a stage must do: a provider's test class inherits its stage's suite.

A class says how its rung is made (`kind`, and for a simulated one the lab's options) and how to
break what is behind it (`broken`, `mended`); the behaviour is tested here, once for all.
"""

import asyncio
from collections.abc import AsyncIterator
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
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData, STTUsageMetricsData, TTSUsageMetricsData
from pipecat.processors.aggregators.llm_context import LLMContext

from faultlab import faults
from faultlab.faults import Fault
from faultlab.instance import Instance
from faultlab.lab import Lab, Spec
from faultlab.schedule import Window
from providers.catalog import provider
from providers.provider import ProbeFailedError, Rung, Stage
from tests.faultlab import synthetic_caller as caller
from tests.providers.bench import QUIET_S, Bench, running, text_of

RATE_HZ = 16_000
PHONE_HZ = 8_000


class Conformance:
    """What all stages share."""

    stage: ClassVar[Stage]
    kind: ClassVar[str]
    model: ClassVar[str]  # what its measurements say when the rung names none

    def rung(self, peer: Any, **changes: Any) -> Rung:
        """Return the rung that speaks to `peer`."""
        given = {"name": "it", "stage": self.stage, "kind": self.kind, "sample_rate_hz": RATE_HZ}
        return Rung(**{**given, "url": "", **changes})

    def service(self, peer: Any, **changes: Any) -> Any:
        """Return the service, built as a call builds it."""
        rung = self.rung(peer, **changes)
        return provider(rung.stage, rung.kind).build(rung)

    async def probe(self, peer: Any, *, timeout_s: float = 5.0, **changes: Any) -> None:
        """Probe the rung as the doctor does."""
        rung = self.rung(peer, **changes)
        await provider(rung.stage, rung.kind).probe(rung, timeout_s=timeout_s)

    async def broken(self, peer: Any, bench: Bench) -> None:
        """Break what is behind the service while it is in use."""
        raise NotImplementedError

    async def mended(self, peer: Any, bench: Bench) -> None:
        """Wait until it is well again."""

    async def nothing_left(self, peer: Any, bench: Bench) -> None:
        """Check that the service holds nothing any more."""
        raise NotImplementedError

    async def asked(self, bench: Bench) -> None:
        """Give the service work, whatever becomes of it."""
        raise NotImplementedError

    async def used(self, bench: Bench) -> None:
        """Give the service work and wait until it is done."""
        raise NotImplementedError

    async def test_a_probe_of_a_healthy_rung_is_content(self, peer: Any) -> None:
        await self.probe(peer)


class Simulated(Conformance):
    """A provider that the lab simulates."""

    speed: ClassVar[float] = 20.0
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    async def peer(self) -> AsyncIterator[Instance]:
        async with Lab(
            [Spec(name="it", kind=self.kind, options=self.options)], speed=self.speed
        ) as lab:
            yield lab.instance("it")

    def rung(self, peer: Instance, **changes: Any) -> Rung:
        return super().rung(peer, **{"url": peer.url, "api_key": peer.api_key, **changes})

    async def broken(self, peer: Instance, bench: Bench) -> None:
        del bench
        peer.drop_connections()

    async def nothing_left(self, peer: Instance, bench: Bench) -> None:
        del bench
        async with asyncio.timeout(3.0):
            while any(each.outcome == "open" for each in peer.record.requests("it")):  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)

    async def test_its_requests_carry_the_key_as_the_provider_wants_it(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            await self.used(bench)

        requests = peer.record.requests("it")
        assert requests
        assert all(each.ok_auth and each.well_formed for each in requests)

    async def test_a_wrong_key_is_refused_and_reported(self, peer: Instance) -> None:
        async with running(self.service(peer, api_key="not-the-key")) as bench:
            await self.asked(bench)
            await bench.first(ErrorFrame)

        assert not bench.service.is_usable
        assert "not-the-key" not in "".join(bench.errors())

    async def test_a_probe_with_a_wrong_key_says_so_in_one_line(self, peer: Instance) -> None:
        with pytest.raises(ProbeFailedError, match="401: the key is not accepted") as refused:
            await self.probe(peer, api_key="not-the-key")

        assert "not-the-key" not in str(refused.value)
        assert "\n" not in str(refused.value)

    async def test_a_probe_of_a_silent_server_ends_in_time(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Silent(where="handshake"))])

        with pytest.raises(ProbeFailedError, match=r"did not answer within 0\.2 s"):
            async with asyncio.timeout(2.0):
                await self.probe(peer, timeout_s=0.2)

    async def test_a_probe_of_nobody_names_the_host(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Refuse())])

        with pytest.raises(ProbeFailedError, match=peer.authority):
            await self.probe(peer)


# -- speech to text

FIRST = "When are you open on Saturday?"
SECOND = "I would like to book an appointment."
PHRASES = (FIRST, SECOND)


def utterance(text: str, *, rate_hz: int = RATE_HZ) -> list[Frame]:
    """Return a caller's utterance as the pipeline's VAD frames it."""
    before = caller.silence(0.5, rate_hz=rate_hz)
    spoken = caller.say(text, rate_hz=rate_hz)
    after = caller.silence(0.25, rate_hz=rate_hz)
    pcm, step = before + spoken + after, rate_hz // 50 * 2
    audio: list[Frame] = [
        InputAudioRawFrame(pcm[at : at + step], rate_hz, 1) for at in range(0, len(pcm), step)
    ]
    detected = round((0.5 + 0.2) * 50)  # the VAD takes 0.2 s to be sure
    return [
        *audio[:detected],
        VADUserStartedSpeakingFrame(),
        *audio[detected:],
        VADUserStoppedSpeakingFrame(stop_secs=0.2),
    ]


def words(text: str) -> list[str]:
    """Return a text's words without case and punctuation."""
    return "".join(each if each.isalnum() else " " for each in text.lower()).split()


class SttConformance(Conformance):
    """What a recogniser must do."""

    stage: ClassVar[Stage] = "stt"

    async def asked(self, bench: Bench) -> None:
        await bench.put(*utterance(FIRST))

    async def used(self, bench: Bench) -> None:
        assert words(await self.hears(bench, FIRST)) == words(FIRST)

    async def hears(self, bench: Bench, text: str, *, rate_hz: int = RATE_HZ) -> str:
        """Say something and return what it is taken for."""
        since = len(bench.out)
        await bench.put(*utterance(text, rate_hz=rate_hz))
        await bench.until(
            lambda: any(f.finalized for f in bench.all(TranscriptionFrame, since=since))
        )
        return text_of(bench.all(TranscriptionFrame, since=since))

    async def test_it_starts_and_says_how_long_its_finals_take(self, peer: Any) -> None:
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

        assert [words(each) for each in heard] == [words(each) for each in (FIRST, SECOND, FIRST)]

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
        assert not [each for each in after if isinstance(each, TranscriptionFrame)]

    async def test_it_closes_with_the_call_and_leaves_nothing(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(*utterance(FIRST))

        assert bench.all(EndFrame)
        await self.nothing_left(peer, bench)

    async def test_what_it_heard_is_measured_in_seconds(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.hears(bench, FIRST)

        used = bench.measured(STTUsageMetricsData)
        sent_s = len(utterance(FIRST)[:-2]) * 0.02
        assert {each.model for each in used} == {self.model}
        assert sum(each.value.audio_seconds for each in used) == pytest.approx(sent_s, abs=0.05)


# -- language models

ASKED: list[Any] = [{"role": "user", "content": "How much is a haircut?"}]


class LlmConformance(Simulated):
    """What a language model must do."""

    stage: ClassVar[Stage] = "llm"

    async def asked(self, bench: Bench) -> None:
        await bench.put(LLMContextFrame(LLMContext(list(ASKED))))

    async def used(self, bench: Bench) -> None:
        await self.answers(bench)

    async def answers(self, bench: Bench) -> str:
        """Ask, and return the whole answer."""
        since = len(bench.out)
        await self.asked(bench)
        await bench.first(LLMFullResponseEndFrame, since=since)
        return "".join(frame.text for frame in bench.all(LLMTextFrame, since=since))

    async def test_it_streams_an_answer_in_pieces_between_a_start_and_an_end(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            answer = await self.answers(bench)

        first = bench.index(LLMFullResponseStartFrame)
        assert answer == peer.record.requests("it")[-1].details["sent"]
        assert len(bench.all(LLMTextFrame)) > 3
        assert first < bench.index(LLMTextFrame) < bench.index(LLMFullResponseEndFrame)

    async def test_a_barge_in_ends_the_answer_and_the_request(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.SlowRate(factor=0.05))])
        async with running(self.service(peer)) as bench:
            await self.asked(bench)
            await bench.first(LLMTextFrame)
            await bench.put(InterruptionFrame())
            await bench.first(InterruptionFrame)
            since = bench.index(InterruptionFrame)
            await asyncio.sleep(QUIET_S)
            await self.nothing_left(peer, bench)

            assert not bench.all(LLMTextFrame, since=since)
            assert peer.record.requests("it")[-1].outcome != "done"

    async def test_late_words_of_a_cancelled_answer_do_not_reach_the_next(
        self, peer: Instance
    ) -> None:
        slow = [Window(fault=faults.SlowRate(factor=0.05), requests=1)]
        async with running(self.service(peer)) as bench:
            peer.set_faults(slow)
            await self.asked(bench)
            await bench.first(LLMTextFrame)
            await bench.put(InterruptionFrame())
            await bench.first(InterruptionFrame)

            answer = await self.answers(bench)

        assert answer == peer.record.requests("it")[-1].details["sent"]

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_a_failed_request_is_made_once_and_told(
        self, peer: Instance, status: int
    ) -> None:
        peer.set_faults([Window(fault=faults.Http(status=status))])
        async with running(self.service(peer)) as bench:
            await self.asked(bench)
            await bench.first(ErrorFrame)
            await asyncio.sleep(QUIET_S)

        assert [each.outcome for each in peer.record.requests("it")] == [str(status)]

    async def test_a_server_that_says_nothing_is_given_up_in_the_rungs_time(
        self, peer: Instance
    ) -> None:
        peer.set_faults([Window(fault=faults.Silent(where="handshake"))])
        async with running(self.service(peer, timeout_s=0.3)) as bench:
            await self.asked(bench)
            await bench.until(lambda: bench.all(ErrorFrame), limit_s=3.0)

        assert len(peer.record.requests("it")) == 1

    async def test_it_is_used_again_after_an_error(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Http(status=503), requests=1)])
        async with running(self.service(peer)) as bench:
            await self.asked(bench)
            await bench.first(ErrorFrame)

            answer = await self.answers(bench)

        assert answer == peer.record.requests("it")[-1].details["sent"]

    async def test_it_is_used_again_after_a_cut_in_the_middle(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Cut(after_words=3), requests=1)])
        async with running(self.service(peer)) as bench:
            cut = await self.answers(bench)
            whole = await self.answers(bench)

        assert len(cut.split()) == 3
        assert whole == peer.record.requests("it")[-1].details["sent"]

    async def test_it_closes_with_the_call_and_leaves_nothing(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            await self.answers(bench)

        await self.nothing_left(peer, bench)

    async def test_its_tokens_are_measured(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            await self.answers(bench)

        (used,) = bench.measured(LLMUsageMetricsData)
        assert used.model == self.model
        assert used.value.prompt_tokens > 0
        assert used.value.completion_tokens > 0


# -- text to speech

HELLO = "Hello there, how are you today?"
NEXT = "That is fine, thank you."
LONG = " ".join(f"This is the sentence with the number {each}." for each in range(60))


class TtsConformance(Conformance):
    """What a voice must do."""

    stage: ClassVar[Stage] = "tts"

    async def asked(self, bench: Bench) -> None:
        await bench.put(*reply(HELLO))

    async def used(self, bench: Bench) -> None:
        assert await self.says(bench, HELLO) == HELLO

    async def says(self, bench: Bench, *sentences: str) -> str:
        """Have a reply spoken, and return the words that are said to be heard."""
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

    async def test_what_is_said_on_its_own_is_spoken(self, peer: Any) -> None:
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
        assert len(text_of(bench.all(TTSTextFrame)).split()) < len(LONG.split())

    async def test_it_is_used_again_after_an_error(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.says(bench, HELLO)
            await self.broken(peer, bench)
            await self.mended(peer, bench)

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

        await self.nothing_left(peer, bench)

    async def test_what_it_spoke_is_measured_in_characters(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await self.says(bench, HELLO)

        used = bench.measured(TTSUsageMetricsData)
        assert {each.model for each in used} == {self.model}
        assert sum(each.value for each in used) == pytest.approx(len(HELLO), abs=1)

    def late(self, peer: Any) -> None:
        """Make the provider go on after a cancel, where it can."""


class SimulatedTts(TtsConformance, Simulated):
    """A voice behind a websocket."""

    async def broken(self, peer: Instance, bench: Bench) -> None:
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
