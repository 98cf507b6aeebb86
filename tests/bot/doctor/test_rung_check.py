"""A rung that is checked alone is measured as it is, whatever the table or its owner says."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.utils.time import time_now_iso8601

from bot.doctor.rung_check import LIMIT_S, check_rung
from bot.doctor.trial import CheckLine
from lab.process import STAGE_OF
from lab.simulators import faults
from lab.simulators.instance import Core, Instance
from lab.simulators.lab import KINDS, Lab, Spec
from lab.simulators.schedule import Window
from providers.adapter.model import SharedModel
from providers.facts import RungFacts
from providers.local_tts import Manner, names, speak
from providers.provider import RungSpec, Stage
from tests.kit.bench import rung_spec
from tests.lab.simulators.near_ears import bring_near
from tests.providers.adapter.own_lab import own_voice
from tests.providers.adapter.own_models import HERE as MODELS
from tests.providers.adapter.own_recogniser import SERVICE, OwnSimulator

pytestmark = pytest.mark.virtual_time

MOST_REQUESTS = 20
QUICK = ("cartesia", "openai")  # the recogniser of an owner's is as quick as soniox
NONE = RungFacts()


async def measured(rung: RungSpec, **more: Any) -> dict[str, CheckLine]:
    """Check a rung; return the lines by what they are about, all of them within the limit."""
    lines = list[CheckLine]()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await check_rung(rung, lines.append, **more)
    assert loop.time() - began_s <= more.get("limit_s", LIMIT_S)
    assert not any(rung.api_key in line.text for line in lines if rung.api_key)
    return {line.about: line for line in lines}


def facts_in(lines: dict[str, CheckLine]) -> dict[str, bool]:
    return {line.fact: line.value for line in lines.values() if line.value is not None}


def own(stage: Stage, name: str, **more: Any) -> RungSpec:
    """Return a rung with a service of this module."""
    given = {"service": name if ":" in name else f"{__name__}:{name}", "facts": NONE, **more}
    return rung_spec(stage, "pipecat", **{"api_key": "", "url": "", **given})


# Kinds with a simulator. Its voice of Deepgram's is silent at once, which the table does not claim.


@asynccontextmanager
async def simulated(kind: str) -> AsyncIterator[Instance]:
    async with bring_near(Lab([Spec(name="it", kind=kind)], core=Core(steady=True))) as lab:
        yield lab.instance("it")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS],
)
async def test_each_kind_is_measured_as_the_catalogue_says(kind: str) -> None:
    async with simulated(kind) as peer:
        rung = rung_spec(STAGE_OF[kind], kind, peer.url, api_key=peer.api_key)
        lines = await measured(rung)
        requests = peer.record.requests("it")

    found = facts_in(lines)
    assert found
    assert found | ({"cancels": False} if kind == "aura" else {}) == {
        name: getattr(rung.facts, name) for name in found
    }
    assert all(line.ok for line in lines.values())
    assert lines["wrong key"].text == "recognised as a wrong key"
    assert len(requests) <= MOST_REQUESTS


async def test_the_local_voice_needs_no_key() -> None:
    lines = await measured(rung_spec("tts", "local", api_key=""))

    assert facts_in(lines) == {"word_times": True, "cancels": True}
    assert "wrong key" not in lines


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("cartesia", faults.Refuse()),
        ("cartesia", faults.Http(status=503)),
        *((kind, faults.Silent(where="handshake")) for kind in ("cartesia", "soniox", "openai")),
    ],
)
async def test_a_vendor_that_is_down_fails_within_the_time(kind: str, fault: faults.Fault) -> None:
    async with simulated(kind) as peer:
        peer.set_faults([Window(fault=fault)])
        lines = await measured(rung_spec(STAGE_OF[kind], kind, peer.url, api_key=peer.api_key))

    assert [line.ok for line in lines.values()] == [False]
    assert not facts_in(lines)


# Voices of an owner's.


class Speaking(TTSService):
    """Speaks with espeak-ng; `plan` says what it does wrong."""

    def __init__(self, *, sample_rate: int | None = None, plan: str = "", **kwargs: Any) -> None:
        settings = TTSSettings(model="own", voice=None, language=None)
        super().__init__(
            sample_rate=sample_rate,
            push_start_frame=True,
            push_stop_frames=True,
            settings=settings,
            **kwargs,
        )
        self.plan = plan
        self.sending = set[asyncio.Task[None]]()
        if plan == "raises":
            raise KeyError("a bug of its owner's")

    async def setup(self, setup: Any) -> None:
        if self.plan == "hangs at the start":
            await asyncio.sleep(3600)
        await super().setup(setup)

    async def cleanup(self) -> None:
        for task in self.sending:
            task.cancel()
        if self.plan == "hangs at the end":
            await asyncio.sleep(3600)
        await super().cleanup()

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        rate_hz = self.sample_rate // 2 if self.plan == "other rate" else self.sample_rate
        spoken = speak(text, names("", "en"), manner=Manner(), rate_hz=rate_hz)
        pcm = spoken.samples.tobytes()
        times = [(word, wrong(self.plan, start_s)) for word, start_s in spoken.words]
        if self.plan in TIMED:
            await self.add_word_timestamps(times[: 3 if self.plan == "few" else None], context_id)
        if self.plan.startswith("mixing"):
            task = asyncio.get_running_loop().create_task(self.send(pcm))
            self.sending.add(task)
            yield None
            return
        if self.plan == "hangs in speech":
            await asyncio.sleep(3600)
        for first in range(0, len(pcm), rate_hz // 5):
            await asyncio.sleep(0.05)
            piece = pcm[first : first + rate_hz // 5]
            yield TTSAudioRawFrame(piece, self.sample_rate, 1, context_id=context_id)

    async def send(self, pcm: bytes) -> None:
        """Send all sound, in the context that is active: the protocol has no other."""
        for first in range(0, len(pcm), self.sample_rate // 5):
            name = self.get_active_audio_context_id()
            piece = pcm[first : first + self.sample_rate // 5]
            frame = TTSAudioRawFrame(piece, self.sample_rate, 1, context_id=name)
            await self.append_to_audio_context(name, frame)
            await asyncio.sleep(0.05)


TIMED = ("timed", "late times", "slow times", "few", "mixing, timed")


def wrong(plan: str, start_s: float) -> float:
    factor = 1.3 if plan == "slow times" else 1.0
    return start_s * factor + (0.6 if plan == "late times" else 0.0)


@pytest.mark.parametrize(
    ("plan", "word_times", "cancels", "stated"),
    [
        ("", False, True, True),
        ("timed", True, True, False),
        ("late times", False, True, True),
        ("slow times", False, True, True),
        ("few", False, True, True),
        ("mixing", False, False, True),
        ("mixing, timed", True, False, False),
    ],
)
async def test_a_voice_is_found_out(
    plan: str,
    word_times: bool,  # noqa: FBT001
    cancels: bool,  # noqa: FBT001
    stated: bool,  # noqa: FBT001
) -> None:
    facts = RungFacts(word_times=stated, cancels=stated)
    lines = await measured(own("tts", "Speaking", init={"plan": plan}, facts=facts))

    assert facts_in(lines) == {"word_times": word_times, "cancels": cancels}


async def test_a_wrong_sample_rate_is_heard_by_the_pace() -> None:
    lines = await measured(own("tts", "Speaking", init={"plan": "other rate"}))

    assert "set rate_hz" in lines["sound"].text
    assert not lines["sound"].ok


async def test_a_voice_whose_late_sound_cannot_be_told_apart_is_found_out() -> None:
    async with Lab([]) as lab, own_voice(lab) as (peer, rung):
        lines = await measured(replace(rung, facts=RungFacts(cancels=True)))
        assert len(peer.record.requests("own")) <= MOST_REQUESTS

    assert facts_in(lines) == {"word_times": False, "cancels": False}
    assert lines["reconnected at an interruption"].ok
    assert lines["wrong key"].text == "recognised as a wrong key"


@pytest.mark.parametrize(
    "plan", ["raises", "hangs at the start", "hangs in speech", "hangs at the end"]
)
async def test_a_voice_that_hangs_or_raises_is_left_in_time(plan: str) -> None:
    lines = await measured(own("tts", "Speaking", init={"plan": plan}))

    assert all(line.ok for line in lines.values()) == (plan == "hangs at the end")


@pytest.mark.parametrize("plan", ["swallow", "nothing", "cut", "odd"])
async def test_a_voice_that_does_not_behave_is_left_in_time(plan: str) -> None:
    service = "tests.providers.adapter.own_voices:InlineVoice"
    lines = await measured(own("tts", service, init={"plan": plan}))

    assert not all(line.ok for line in lines.values())


# Recognisers of an owner's.


@pytest.mark.parametrize("flushes", [True, False])
async def test_a_recogniser_is_found_out(
    flushes: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KINDS, "own", OwnSimulator)  # pyright: ignore[reportArgumentType]
    async with simulated("own") as peer:
        facts, init = RungFacts(finalises=not flushes), {"flushes": flushes}
        given: dict[str, Any] = {"url": peer.url, "api_key": peer.api_key, "init": init}
        lines = await measured(own("stt", SERVICE, facts=facts, **given))

    assert facts_in(lines) == {"finalises": flushes, "interim": True}
    assert all(line.ok for line in lines.values())


class Guessing(STTService):
    """Says what its plan says, whatever it hears."""

    def __init__(self, *, plan: str = "", **kwargs: Any) -> None:
        super().__init__(settings=STTSettings(model="own", language=None), **kwargs)
        self.plan, self.heard, self.speaks = plan, 0, False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self.speaks = True
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self.speaks = False
            if self.plan != "deaf":
                await self.push_frame(TranscriptionFrame("one", "", time_now_iso8601()))

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        self.heard += 1
        if self.plan == "invents" and not self.speaks and self.heard % 100 == 0:
            yield InterimTranscriptionFrame("you", "", time_now_iso8601())
        if self.plan == "closes" and self.heard == 500:
            yield ErrorFrame("no speech", exception=ConnectionResetError())
        if self.plan == "hangs":
            await asyncio.sleep(3600)
        yield None


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        ("", ""),
        ("deaf", "results"),
        ("invents", "15 s of silence"),
        ("closes", "15 s of silence"),
        ("hangs", "speech"),
    ],
)
async def test_a_recogniser_that_does_not_behave_is_named(plan: str, problem: str) -> None:
    lines = await measured(own("stt", "Guessing", init={"plan": plan}))

    assert [line.about for line in lines.values() if not line.ok] == ([problem] if problem else [])
    if not plan:
        assert facts_in(lines) == {"finalises": True, "interim": False}


# Models of an owner's.


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("whole", ""),
        ("times_out_silently", "a word"),
        ("exits", "a word"),
        ("speaks_after_cancellation", "a word"),
        ("is_refused", "a word"),
    ],
)
async def test_a_model_that_does_not_say_why_it_ended_or_fails(script: str, problem: str) -> None:
    lines = await measured(own("llm", f"{MODELS}:Scripted", init={"script": script}))

    assert [line.about for line in lines.values() if not line.ok] == ([problem] if problem else [])
    assert facts_in(lines) == ({} if problem else {"says_why": False})


# Everything together.


async def test_everything_ends_within_the_limit() -> None:
    lines = await measured(own("tts", "Speaking", init={"plan": "timed"}), limit_s=6.0)

    assert not all(line.ok for line in lines.values())


@pytest.mark.parametrize(
    ("script", "closes", "problems"),
    [
        ("whole", "hangs", ["end"]),
        ("whole", "raises", ["end"]),
        ("speaks_after_cancellation", "slowly", ["a word"]),  # the time is used up
    ],
)
async def test_a_shared_client_that_does_not_close_is_told_as_any_other_problem(
    monkeypatch: pytest.MonkeyPatch, script: str, closes: str, problems: list[str]
) -> None:
    closed = list[str]()

    async def close(_: SharedModel) -> None:
        if closes == "raises":
            raise OSError
        await asyncio.sleep(60.0 if closes == "hangs" else 0.5)
        closed.append(closes)

    monkeypatch.setattr(SharedModel, "close", close)
    service = own("llm", f"{MODELS}:Scripted", init={"script": script})
    lines = await measured(service, limit_s=10.0)

    assert [line.about for line in lines.values() if not line.ok] == problems
    assert closed == (["slowly"] if closes == "slowly" else [])


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "recognised as a wrong key"), (500, "it looks like the failure"), (0, "any key")],
)
async def test_what_an_expired_key_would_look_like_is_told(status: int, text: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.headers["token"] != "RIGHT" and status:
            return web.Response(status=status)
        return web.Response(text='{"text": "Yes."}\n{"why": "stop"}\n')

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        lines = await measured(own("llm", f"{MODELS}:OwnModel", url=url, api_key="RIGHT"))

    assert lines["wrong key"].text.startswith(text)
    assert lines["wrong key"].ok == (status != 500)
    assert facts_in(lines) == {"says_why": True}
