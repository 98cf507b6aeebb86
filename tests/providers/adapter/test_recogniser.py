"""The adapter handles recognisers that do not behave."""

import asyncio
import io
import itertools
import wave
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterimTranscriptionFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import SegmentedSTTService, STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601

from calls.transcript import HeardWord
from fallbacks.failure import Failure, Kind, ServiceError
from holdline import Ladders, rung
from providers.adapter.recogniser import build, share
from providers.adapter.recogniser_requests import transcribe
from providers.adapter.recogniser_stream import RecogniserStream, wrong_times
from providers.adapter.service_class import UnusableServiceError
from providers.facts import RungFacts
from providers.provider import RungSpec, WholeRecording
from tests.kit.bench import Bench, rung_spec, running
from tests.kit.caller import frames_of

pytestmark = pytest.mark.virtual_time

SETTINGS = STTSettings(model="own", language=None)
LOADED = list[str]()


def spec(name: str, **changes: Any) -> RungSpec:
    given: dict[str, Any] = {"sample_rate_hz": 16_000, "facts": RungFacts(), **changes}
    return rung_spec("stt", "pipecat", service=f"{__name__}:{name}", **given)


def failures(bench: Bench) -> list[Failure]:
    errors = [frame.exception for frame in bench.all(ErrorFrame)]
    assert all(isinstance(error, ServiceError) for error in errors)
    return [error.failure for error in errors if isinstance(error, ServiceError)]


class Says(STTService):
    """Pushes one frame for the first piece of audio."""

    def __init__(self, *, said: Any = None, **kwargs: Any) -> None:
        super().__init__(settings=SETTINGS, **kwargs)
        self.said = said
        self.heard = list[bytes]()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        self.heard.append(audio)
        if self.said is not None:
            said, self.said = self.said, None
            if isinstance(said, BaseException):
                raise said
            yield said


def transcript(text: Any, **more: Any) -> TranscriptionFrame:
    return TranscriptionFrame(text, "", time_now_iso8601(), **more)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (transcript(None), Kind.PROTOCOL),
        (transcript(b"yes"), Kind.PROTOCOL),
        (TextFrame("yes"), Kind.PROTOCOL),
        (TTSAudioRawFrame(bytes(640), 16_000, 1), Kind.PROTOCOL),
        (ErrorFrame("no: status 401"), Kind.AUTH),
        (ErrorFrame("it ended", exception=ConnectionResetError()), Kind.NETWORK),
        (RuntimeError("a bug"), None),
        (SystemExit("no licence"), None),
        (asyncio.CancelledError(), Kind.NETWORK),
        (EndFrame(), Kind.PROTOCOL),
        (CancelFrame(), Kind.PROTOCOL),
    ],
    ids=[
        *("nothing", "bytes", "text", "sound", "401", "reset", "raises", "exits"),
        *("cancels itself", "ends the call", "cancels the call"),
    ],
)
async def test_what_no_recogniser_may_push_fails_the_rung_once(
    said: Any, kind: Kind | None
) -> None:
    service = build(spec("Says", init={"said": said}))
    async with running(service) as bench:
        await bench.put(*frames_of(bytes(6400)))
        await bench.first(ErrorFrame)
        await asyncio.sleep(0.1)

        (failure,) = failures(bench)
        assert kind is None or failure.kind is kind
        assert not bench.all(TextFrame)
        assert not service.connected
        assert service.is_usable
        assert await service.reconnect()
        bench.service.said = transcript("yes")
        await bench.put(*frames_of(bytes(6400)))
        assert (await bench.first(TranscriptionFrame)).text == "yes"


@pytest.mark.parametrize(("language", "named"), [("", "es"), ("multi", "es"), ("de", "de")])
async def test_the_language_of_words_is_the_rungs_unless_the_service_detects_it(
    language: str, named: str
) -> None:
    said = transcript("sí", language=Language.ES)
    async with running(build(spec("Says", init={"said": said}, language=language))) as bench:
        await bench.put(*frames_of(bytes(6400)))

        assert str((await bench.first(TranscriptionFrame)).language) == named


class SaysLate(Says):
    """Says its words when told."""

    async def say(self, text: str, *, final: bool) -> None:
        kind = TranscriptionFrame if final else InterimTranscriptionFrame
        await self.push_frame(kind(text, "", time_now_iso8601()))


async def talk(bench: Bench) -> None:
    await bench.put(VADUserStartedSpeakingFrame(), *frames_of(bytes(6400)))
    await asyncio.sleep(0.05)


STOP = VADUserStoppedSpeakingFrame


async def test_a_final_before_the_stop_completes_nothing_and_the_first_after_it_does() -> None:
    service: Any = build(spec("SaysLate"))
    async with running(service) as bench:
        await talk(bench)
        await service.say("one", final=True)
        await bench.put(STOP(stop_secs=0.2))
        await asyncio.sleep(0.05)
        await service.say("two", final=True)
        await service.say("three", final=True)

        await bench.until(lambda: len(bench.all(TranscriptionFrame)) == 3)
        finals: list[Any] = list(bench.all(TranscriptionFrame))
        assert [final.finalized for final in finals] == [False, True, False]
        assert [final.result.end_s for final in finals] == [None, pytest.approx(0.2), None]


async def test_words_that_were_final_before_the_stop_are_complete_after_the_usual_time() -> None:
    service: Any = build(spec("SaysLate"))
    async with running(service) as bench:
        await talk(bench)
        await service.say("one", final=True)
        await bench.put(STOP(stop_secs=0.2))
        await bench.until(lambda: len(bench.all(TranscriptionFrame)) == 2)

        assert bench.all(TranscriptionFrame)[-1].text == ""
        assert bench.all(TranscriptionFrame)[-1].finalized


@pytest.mark.parametrize("words", [(), ("one",)], ids=["nothing heard", "words still open"])
async def test_a_recogniser_that_may_be_mute_completes_nothing_by_itself(
    words: tuple[str, ...],
) -> None:
    service: Any = build(spec("SaysLate"))
    async with running(service) as bench:
        await talk(bench)
        for word in words:
            await service.say(word, final=False)
        await bench.put(STOP(stop_secs=0.2))
        await asyncio.sleep(3.0)

        assert not bench.all(TranscriptionFrame)


class Stubborn(Says):
    """Cannot be left: it swallows its cancellation."""

    async def _disconnect(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if self.said == "stop":
                    raise

    async def _connect(self) -> None: ...


async def test_a_service_that_swallows_its_cancellation_is_abandoned() -> None:
    service: Any = build(spec("Stubborn"))
    async with running(service):
        began = asyncio.get_running_loop().time()

        assert await service.reconnect()
        assert asyncio.get_running_loop().time() - began < 2.5
        service.said = "stop"  # so that the test's loop can end


class Blocked(Says):
    """Takes no audio."""

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        del audio
        await asyncio.sleep(60)
        yield None


async def test_a_service_that_takes_no_audio_fails() -> None:
    async with running(build(spec("Blocked"))) as bench:
        await bench.put(*frames_of(bytes(640)))
        await bench.first(ErrorFrame)

        assert failures(bench)[0].kind is Kind.TIMEOUT


class Hanging(Says):
    """Never gets ready."""

    async def setup(self, setup: FrameProcessorSetup) -> None:
        await super().setup(setup)
        await asyncio.sleep(60)


async def test_a_service_that_never_connects_fails_in_time() -> None:
    async with running(build(spec("Hanging"))) as bench:
        await bench.first(ErrorFrame)

        assert failures(bench)[0].kind is Kind.TIMEOUT


class Restless(Says):
    """Wants to reconnect by itself, and to send its buffer again."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.buffer = bytearray()
        self.pieces, self.frames, self.names = deque[bytes](), list[bytes](), ["a"]
        self.connections = 0

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        self.buffer += audio
        self.pieces.append(audio)
        self.frames.append(audio)
        if len(self.buffer) == 1280:
            await self._request_reconnect()
        yield None

    async def _do_reconnect(self) -> None:
        self.connections += 1


async def test_a_service_that_wants_to_reconnect_and_to_replay_leaves_both_to_the_stage() -> None:
    service: Any = build(spec("Restless"))
    async with running(service) as bench:
        await bench.put(VADUserStartedSpeakingFrame(), *frames_of(bytes(1280)))
        await bench.first(ErrorFrame)

        assert failures(bench)[0].kind is Kind.NETWORK
        assert service.connections == 0
        assert await service.reconnect()
        held = [service.buffer, service.pieces, service.frames, service.names]
        assert [len(buffer) for buffer in held] == [0, 0, 0, 1]


class Pieces(SegmentedSTTService):
    """Transcribes whole utterances, after half a second."""

    def __init__(self, *, words: str = "yes", **kwargs: Any) -> None:
        super().__init__(settings=SETTINGS, **kwargs)
        self.words = words

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        del audio
        await asyncio.sleep(0.5)
        yield transcript(self.words)


async def test_a_recogniser_of_whole_utterances_answers_each_stop_once() -> None:
    service = build(spec("Pieces"))
    async with running(service) as bench:
        for _ in range(2):
            await talk(bench)
            assert not service.send_at_once(bytes(640))
            service.ask_for_words()  # does nothing: the caller may go on
            await bench.put(STOP(stop_secs=0.2))
            await asyncio.sleep(1.0)

        finals = bench.all(TranscriptionFrame)
        assert [(final.text, final.finalized) for final in finals] == [("yes", True)] * 2


async def test_a_whole_recording_is_transcribed() -> None:

    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, 8000, 0, "NONE", ""))
        recording.writeframes(bytes(16_000))
    heard = await transcribe(spec("Pieces"), WholeRecording(content=file.getvalue(), language="de"))

    assert (heard.text, heard.language, heard.duration_s) == ("yes", "de", 1.0)


class Loading(Says):
    """Loads a model in its constructor."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model: Any = None
        self.handle = self._load()

    def _load(self) -> str:
        LOADED.append("model")
        self.model = object()
        return "handle"


def test_models_are_loaded_once_and_shared_by_all_calls() -> None:
    LOADED.clear()
    shared = share(spec("Loading"))
    services: list[Any] = [build(spec("Loading", shared=shared)) for _ in range(3)]

    assert LOADED == ["model"]
    assert {service.handle for service in services} == {"handle"}
    assert len({id(service.model) for service in services}) == 1
    assert share(spec("Says")) is None


class Offline(Loading):
    """Cannot download its model."""

    def _load(self) -> str:
        LOADED.append("tried")
        raise OSError("no route to the model")


async def test_models_that_cannot_be_loaded_take_out_only_their_rung() -> None:
    shared = share(spec("Offline"))
    with pytest.raises(UnusableServiceError, match="not loaded"):  # without another try
        build(spec("Offline", shared=shared))
    assert LOADED.count("tried") == 1
    assert Ladders(stt=[rung(Offline), rung("local")]).stt


@pytest.mark.parametrize("rate_hz", [8000, 24_000, 48_000])
async def test_a_service_gets_the_audio_at_its_own_rate(rate_hz: int) -> None:
    service: Any = build(spec("Says", rate_hz=rate_hz))
    async with running(service) as bench:
        await bench.put(VADUserStartedSpeakingFrame(), *frames_of(bytes(32_000)))
        await bench.put(STOP(stop_secs=0.2))
        await asyncio.sleep(0.2)

        assert len(b"".join(service.heard)) == pytest.approx(2 * rate_hz, rel=0.01)


@given(st.lists(st.tuples(st.floats(-1, 20), st.floats(-1, 20)), min_size=1, max_size=5))
def test_word_times_run_forwards_inside_the_audio(times: list[tuple[float, float]]) -> None:
    words = [HeardWord(text="x", start_s=start_s, end_s=end_s) for start_s, end_s in times]
    if wrong_times(words, sent_s=10.0):
        return
    assert all(word.start_s <= word.end_s <= 11.0 for word in words)
    assert all(b.start_s >= a.start_s - 0.5 for a, b in itertools.pairwise(words))


def test_a_request_that_was_cancelled_makes_earlier_answers_late() -> None:
    stream = RecogniserStream(counts=True)
    stream.send(1.0)
    stream.note_request()
    stream.note_request(cancelled=True)
    stream.note_utterance()
    stream.send(1.0)
    stream.note_request()
    answers = [stream.finish(answers=True) for _ in range(3)]

    assert [answer.late for answer in answers] == [True, True, False]
    assert [answer.complete for answer in answers] == [False, False, True]
    assert answers[-1].end_s == 2.0
