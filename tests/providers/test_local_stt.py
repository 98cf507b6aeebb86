"""The local recogniser: the stage's suite, and its own behaviour."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from calls.transcript import Heard
from providers import sphinx_process
from providers.provider import ProbeFailedError
from providers.sphinx import MAX_UTTERANCE_S, Recogniser
from providers.sphinx_ear import Ear
from tests.kit.bench import Bench, running
from tests.lab.simulators import synthetic_caller as caller
from tests.providers.conformance import RATE_HZ
from tests.providers.near_sphinx import hear_near
from tests.providers.stt_conformance import FIRST, PHRASES, SECOND, SttConformance, utterance, words

GRAMMAR = "#JSGF V1.0;\ngrammar caller;\npublic <said> = {};\n"


def worker_of(bench: Bench) -> Any:
    return bench.service._process._process


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grammar") / "caller.gram"
    path.write_text(GRAMMAR.format(" | ".join(" ".join(words(phrase)) for phrase in PHRASES)))
    return path


class TestLocal(SttConformance):
    kind: ClassVar[str] = "local"
    model: ClassVar[str] = "pocketsphinx"

    @pytest.fixture
    def peer(self, grammar: Path) -> dict[str, Any]:
        """An owner's grammar: the service is tested, not the wheel's models."""
        return {"jsgf": str(grammar)}

    def rung(self, peer: Any, **changes: Any) -> Any:
        return super().rung(peer, **{"options": peer, **changes})

    async def break_peer(self, peer: Any, bench: Bench) -> None:
        os.kill(worker_of(bench).pid, signal.SIGKILL)

    async def check_nothing_left(self, peer: Any, bench: Bench) -> None:
        assert worker_of(bench) is None

    async def test_its_process_ends_with_the_call(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            process = worker_of(bench)
            assert process.returncode is None

        assert process.returncode is not None

    async def test_a_final_carries_its_confidence_and_alternatives(self) -> None:
        async with running(self.service({})) as bench:
            await self.hears(bench, FIRST)

        (final,) = bench.all(TranscriptionFrame)
        assert isinstance(final.result, Heard)
        assert final.result.confidence
        assert 0 < final.result.confidence <= 1
        assert all(other.text != final.text for other in final.result.others)
        assert final.language == "en"

    async def test_only_the_last_of_two_pending_results_is_final(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            await bench.put(*utterance(FIRST), *utterance(SECOND))
            await bench.until(lambda: len(bench.all(TranscriptionFrame)) == 2)

        assert [frame.finalized for frame in bench.all(TranscriptionFrame)] == [False, True]

    async def test_unreadable_models_make_it_unusable(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken.gram"
        broken.write_text("this is no grammar")
        async with running(self.service({"jsgf": str(broken)})) as bench:
            await bench.first(ErrorFrame)

        assert not bench.service.is_usable

    async def test_a_recogniser_that_dies_repeatedly_is_given_up(self, peer: Any) -> None:
        async with running(self.service(peer)) as bench:
            for deaths in (1, 2, 3):
                await self.ready(bench)
                await self.break_peer(peer, bench)
                await bench.until(lambda many=deaths: len(bench.all(ErrorFrame)) == many)

        assert not bench.service.is_usable

    async def test_a_recogniser_that_cannot_be_restarted_is_given_up(
        self, peer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with running(self.service(peer)) as bench:
            await self.ready(bench)
            monkeypatch.setattr(sphinx_process, "_ROOT", Path("/nowhere"))  # it was replaced
            await self.break_peer(peer, bench)
            await bench.first(ErrorFrame)

        assert not bench.service.is_usable

    async def test_a_process_that_dies_in_an_utterance_is_replaced_for_the_rest_of_it(
        self, peer: Any
    ) -> None:
        rest = utterance(SECOND)
        began = next(
            n for n, frame in enumerate(rest) if isinstance(frame, VADUserStartedSpeakingFrame)
        )
        async with running(self.service(peer)) as bench:
            await self.ready(bench)
            bench.service._answers.note_request(cancelled=False)  # a result that will never come
            await bench.put(*utterance(FIRST)[:-1])
            await bench.until(lambda: bench.all(InterimTranscriptionFrame))
            await self.break_peer(peer, bench)
            await bench.first(ErrorFrame)
            since = len(bench.out)
            await bench.put(*rest[:began], *rest[began + 1 :])  # without another start of speech
            final = await bench.first(TranscriptionFrame, since=since)

        assert words(final.text) == words(SECOND)
        assert final.finalized

    async def ready(self, bench: Bench) -> None:
        """Wait until the worker has loaded its models: it answers a finish."""
        async with asyncio.timeout(10.0):
            while not bench.service._ready:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)

    async def test_the_loop_is_not_blocked_while_it_decodes(self, peer: Any) -> None:
        async def hear(service: FrameProcessor) -> float:
            """Return this thread's share of a core meanwhile."""
            async with running(service) as bench:
                await self.ready(bench)
                began_s = time.thread_time()
                await self.hears(bench, SECOND)
                return time.thread_time() - began_s

        beside_s = await hear(self.service(peer))
        here_s = await hear(hear_near(self.service(peer)))

        assert beside_s < here_s / 2

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"language": "es"}, "includes only English models; for es set options.hmm"),
            ({"options": {"lm": "/nowhere/x.lm"}}, "no such file: options.lm: /nowhere/x.lm"),
        ],
        ids=["language", "file"],
    )
    async def test_an_impossible_setting_fails_the_probe_and_the_construction(
        self, changes: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(ProbeFailedError, match=says):
            await self.probe({}, **changes)
        with pytest.raises(ValueError, match=says):
            self.service({}, **changes)


def recogniser(grammar: Path) -> Recogniser:
    return Recogniser(Ear(rate_hz=RATE_HZ, jsgf=str(grammar)))


def test_speech_before_the_beginning_is_heard_too(grammar: Path) -> None:
    ear = recogniser(grammar)
    speech = caller.silence(0.3) + caller.say(SECOND) + caller.silence(0.25)

    assert not list(ear.hear(speech[:RATE_HZ]))  # half a second, 0.2 s of it voice
    ear.start_utterance()
    list(ear.hear(speech[RATE_HZ:]))

    assert words(ear.finish().text) == words(SECOND)


def test_a_finish_without_a_beginning_is_answered_with_nothing(grammar: Path) -> None:
    ear = recogniser(grammar)
    list(ear.hear(caller.say(FIRST)))

    assert ear.finish().text == ""


def test_speech_without_an_end_is_reported_in_parts(grammar: Path) -> None:
    ear = recogniser(grammar)
    ear.start_utterance()
    piece = caller.silence(0.1) + caller.say(FIRST) + caller.silence(0.1)

    heard = [
        item
        for _ in range(int(MAX_UTTERANCE_S / (len(piece) / 2 / RATE_HZ)) + 2)
        for item in ear.hear(piece)
    ]

    finals = [index for index in heard if index.what == "final"]
    assert len(finals) == 1
    assert finals[0].text
    assert not finals[0].finished
