"""Clips: sentences for failures, rendered ahead in the voices of the agent."""

# pyright: reportAttributeAccessIssue=false

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.clips import rendering as clip_keeping
from bot.clips.rendering import Rendered, keep_clips, needed_clips, render_missing
from bot.clips.store import RATE_HZ, CallVoice, Clip, ClipStore, load_utterances
from bot.clips.voice import UnspokenError, trim
from bot.health.policies import build_policies
from calls.events import Event
from calls.operations_events import ClipsRendered
from configuration.errors import ConfigError
from configuration.settings import Settings
from fallbacks.breaker import State
from fallbacks.events import RetriesExhausted, RetryPlanned
from fallbacks.retrying import RetrySettings
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import parse_windows
from operations.retrying import Retries
from processors.holding.utterance_rules import FallbackText, utterances_of
from providers.local_tts import say_locally
from providers.provider import RungSpec
from runtime import clock

pytestmark = pytest.mark.virtual_time

TEXTS = {
    "en": {"filler": ["One moment.", "Just a second."], "goodbye": ["Thank you, and goodbye."]},
    "es": {"filler": ["Un momento."]},
}
UTTERANCES = utterances_of(TEXTS)
VOICES = ("cartesia", "elevenlabs")


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab([Spec(name=name, kind=name) for name in VOICES], speed=20.0) as lab:
        yield lab


def settings_for(lab: Lab, **tree: Any) -> Settings:
    rungs = [
        {"name": name, "kind": name, "url": lab.instance(name).url, "voice": f"voice-of-{name}"}
        | {"api_key": lab.instance(name).api_key}
        for name in VOICES
    ]
    rungs.append({"name": "espeak", "kind": "local"})
    others: dict[str, Any] = {"stt": [{"kind": "local"}], "llm": [{"kind": "openai"}]}
    return Settings.model_validate(tree | {"stages": others | {"tts": rungs}})


def retries(**changes: Any) -> Retries:
    """Return the usual sequence, without its waits."""
    return Retries(**{"settings": RetrySettings(), "emit": [].append, "sleep": at_once} | changes)


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


async def rendered(
    settings: Settings,
    store: ClipStore,
    utterances: tuple[FallbackText, ...] = UTTERANCES,
    **changes: Any,
) -> list[Rendered]:
    rendering = render_missing(settings, utterances, store, retries=retries(**changes))
    async with asyncio.timeout(30):
        return [item async for item in rendering]


async def test_every_speaking_rung_renders_every_text_of_the_agents_language(
    lab: Lab, tmp_path: Path
) -> None:
    settings, store = settings_for(lab), ClipStore(tmp_path)

    done = await rendered(settings, store)

    assert [item.error for item in done] == [""] * 6
    assert {item.rung for item in done} == set(VOICES)
    spoken = [(word.instance, word.text) for word in lab.record.words()]
    assert ("elevenlabs", "goodbye.") in spoken or ("elevenlabs", "goodbye") in spoken
    for rung, text in needed_clips(settings, UTTERANCES):
        pcm = await store.load(Clip.of(rung, text), 8000)
        assert pcm is not None
        assert 0.3 < len(pcm) / 2 / 8000 < 3.0
        assert np.abs(np.frombuffer(pcm, "<i2")[:800].astype(int)).max() > 200  # no lead-in


async def test_a_multilingual_agent_has_clips_in_every_language_of_the_texts(
    lab: Lab, tmp_path: Path
) -> None:
    settings, store = settings_for(lab, agent={"language": "multi"}), ClipStore(tmp_path)

    done = await rendered(settings, store)

    assert [item.error for item in done] == [""] * 8
    asked = [
        request
        for name in VOICES
        for request in lab.record.requests(name)
        if "text" in request.details
    ]
    assert {
        (item.instance, item.details["text"].strip(), item.details["language"])
        for item in asked
        if "momento" in item.details["text"]
    } == {(name, "Un momento.", "es") for name in VOICES}


async def test_a_multilingual_voice_plays_a_clip_in_the_language_of_its_text(
    tmp_path: Path,
) -> None:
    rung = RungSpec(name="a", stage="tts", kind="cartesia", url="", sample_rate_hz=8000, voice="v")
    store = ClipStore(tmp_path)
    store.save(Clip.of(replace(rung, language="es"), "Un momento."), np.full(800, 77, np.int16))

    def voice(*following: str) -> CallVoice:
        return CallVoice(
            store,
            voices={"a": rung},
            following=following,
            speaking=lambda: "a",
            local=lambda _text, language: language.encode(),
            rate_hz=RATE_HZ,
        )

    clip = await voice("a").say("Un momento.", "es")
    assert np.frombuffer(clip.pcm, "<i2").tolist() == [77] * 800
    other = await voice().say("Un momento.", "es")
    assert other.pcm == b"es"  # a language of its own: another clip


async def test_only_a_changed_text_is_rendered_again(lab: Lab, tmp_path: Path) -> None:
    settings, store = settings_for(lab), ClipStore(tmp_path)
    await rendered(settings, store)
    spoken = len(lab.record.words())
    changed = utterances_of(TEXTS | {"en": TEXTS["en"] | {"goodbye": ["Bye now, and thanks."]}})

    assert await rendered(settings, ClipStore(tmp_path)) == []
    assert len(lab.record.words()) == spoken
    done = await rendered(settings, store, changed)
    assert [word.text for word in done] == ["Bye now, and thanks."] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"voice": "other"},
        {"model": "other"},
        {"language": "es"},
        {"options": {"speed": 1.1}},
        {"service": "other:Voice"},
        {"init": {"voice_id": "other"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_voice_is_another_clip(change: dict[str, Any]) -> None:
    rung = RungSpec(
        name="a", stage="tts", kind="pipecat", url="", sample_rate_hz=8000, service="a:Voice"
    )

    assert Clip.of(rung, "Hello.").name != Clip.of(replace(rung, **change), "Hello.").name


async def test_a_voice_that_fails_is_skipped_for_its_other_texts(lab: Lab, tmp_path: Path) -> None:
    lab.instance("cartesia").set_faults(parse_windows([{"fault": "http", "status": 401}]))
    settings = settings_for(lab)

    done = await rendered(settings, ClipStore(tmp_path))

    failed = [item for item in done if item.error]
    assert [item.rung for item in failed] == ["cartesia"]
    assert sum(item.rung == "elevenlabs" for item in done) == 3
    assert "voice-of" not in failed[0].error


async def test_a_voice_that_recovers_during_the_retries_renders_every_text(
    lab: Lab, tmp_path: Path
) -> None:
    voice = lab.instance("cartesia")
    voice.set_faults(parse_windows([{"fault": "http", "status": 503}]))
    settings, told, waits = settings_for(lab), list[Event](), list[float]()

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 2:
            voice.clear()

    done = await rendered(settings, ClipStore(tmp_path), emit=told.append, sleep=sleep)

    assert [item.error for item in done] == [""] * 6
    assert len(waits) == 2
    assert waits == [event.wait_s for event in told if isinstance(event, RetryPlanned)]


async def test_a_voice_that_stays_broken_is_skipped_for_callers_too(
    lab: Lab, tmp_path: Path
) -> None:
    lab.instance("cartesia").set_faults(parse_windows([{"fault": "http", "status": 503}]))
    settings, told = settings_for(lab), list[Event]()
    availability = build_policies(settings, clock.monotonic())["tts"].availability

    done = await rendered(
        settings, ClipStore(tmp_path), emit=told.append, availability=availability
    )

    assert [item.rung for item in done if item.error] == ["cartesia"]
    assert availability.of("tts", "cartesia").breaker.state is State.OPEN
    assert availability.of("tts", "elevenlabs").breaker.state is State.CLOSED
    exhausted = [event for event in told if isinstance(event, RetriesExhausted)]
    assert [(item.provider, item.tries) for item in exhausted] == [("cartesia", 4)]


async def test_a_caller_has_priority_over_rendering(lab: Lab, tmp_path: Path) -> None:
    lab.instance("cartesia").set_faults(parse_windows([{"fault": "http", "status": 503}]))
    order: list[str] = []

    async def go() -> None:
        order.append("go")

    async def sleep(_: float) -> None:
        order.append("slept")

    settings = settings_for(lab)
    rendering = render_missing(
        settings, UTTERANCES, ClipStore(tmp_path), retries=retries(sleep=sleep), before_each=go
    )
    async with asyncio.timeout(30):
        first = await anext(aiter(rendering))
        await rendering.aclose()

    assert " is overloaded" in first.error
    assert order == ["go", *["slept", "go"] * 3]


async def test_a_voice_that_is_cut_off_leaves_no_half_clip(lab: Lab, tmp_path: Path) -> None:
    for name in VOICES:
        cut = {"fault": "cut", "after_words": 1, "how": "close"}
        lab.instance(name).set_faults(parse_windows([cut]))
    settings, store = settings_for(lab), ClipStore(tmp_path)

    done = await rendered(settings, store)

    assert all(item.error for item in done)
    assert not any(store.has(Clip.of(*pair)) for pair in needed_clips(settings, UTTERANCES))


async def test_a_server_renders_only_while_there_are_no_calls(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_keeping, "CALLS_CHECK_S", 0.01)
    monkeypatch.setattr(clip_keeping, "NO_CALLS_S", 0.05)
    settings, store, busy = settings_for(lab), ClipStore(tmp_path), True
    told: list[Event] = []
    asked = retries(emit=told.append)
    async with keep_clips(settings, UTTERANCES, store, quiet=lambda: not busy, retries=asked):
        await asyncio.sleep(0.15)
        before = len(lab.record.words())
        busy = False
        async with asyncio.timeout(20):
            while not all(store.has(Clip.of(*pair)) for pair in needed_clips(settings, UTTERANCES)):  # noqa: ASYNC110 - files are waited for
                await asyncio.sleep(0.02)
            while not told:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.02)

    assert before == 0
    (rendering,) = told
    assert isinstance(rendering, ClipsRendered)
    assert (rendering.clips, rendering.failed, rendering.complete) == (
        len(list(needed_clips(settings, UTTERANCES))),
        0,
        True,
    )


async def test_a_server_without_rendering_requests_nothing(lab: Lab, tmp_path: Path) -> None:
    settings = settings_for(lab, hold={"render": False})
    store = ClipStore(tmp_path)
    async with keep_clips(settings, UTTERANCES, store, quiet=lambda: True, retries=retries()):
        await asyncio.sleep(0.05)

    assert lab.record.words() == ()


def test_sound_that_is_too_short_for_its_text_is_refused() -> None:
    loud = np.full(round(0.3 * RATE_HZ), 5000, dtype="<i2").tobytes()

    assert trim(loud, "One moment.").size > 0
    with pytest.raises(UnspokenError):
        trim(loud, "Thank you for calling, and goodbye until next time.")


def voice(store: ClipStore, *, speaks: str | None) -> CallVoice:
    rungs = {
        name: RungSpec(name=name, stage="tts", kind=name, url="", sample_rate_hz=8000, voice="v")
        for name in VOICES
    }

    def local(text: str, language: str) -> bytes:
        return f"{language}: {text}".encode()

    return CallVoice(store, voices=rungs, speaking=lambda: speaks, local=local, rate_hz=8000)


async def test_a_clip_is_in_the_voice_of_the_current_rung(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    rung = RungSpec(
        name="elevenlabs", stage="tts", kind="elevenlabs", url="", sample_rate_hz=8000, voice="v"
    )
    store.save(Clip.of(rung, "One moment."), np.full(1600, 7, dtype=np.int16))

    spoken = await voice(store, speaks="elevenlabs").say("One moment.", "en")

    assert (len(spoken.pcm), spoken.voice) == (2 * 800, "elevenlabs")


async def test_without_a_clip_the_local_voice_speaks(tmp_path: Path) -> None:
    for speaks in (None, "cartesia", "nobody we know"):
        spoken = await voice(ClipStore(tmp_path), speaks=speaks).say("Un momento.", "es")

        assert spoken == (b"es: Un momento.", "local")


async def test_a_broken_file_is_not_played(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    rung = RungSpec(
        name="cartesia", stage="tts", kind="cartesia", url="", sample_rate_hz=8000, voice="v"
    )
    clip = Clip.of(rung, "One moment.")
    store.save(clip, np.full(1600, 7, dtype=np.int16))
    (tmp_path / f"{clip.name}.wav").write_bytes(b"RIFF")

    assert await store.load(clip, 8000) is None


@pytest.mark.real_time
async def test_the_local_voice_speaks_while_the_disk_hangs(tmp_path: Path) -> None:
    rung = RungSpec(
        name="cartesia", stage="tts", kind="cartesia", url="", sample_rate_hz=8000, voice="v"
    )
    store, texts = ClipStore(tmp_path), [f"One moment, {number}." for number in range(12)]
    pipes = [tmp_path / f"{Clip.of(rung, text).name}.wav" for text in texts]
    for pipe in pipes:
        os.mkfifo(pipe)  # a pipe without a writer

    try:
        async with asyncio.timeout(20.0):
            said = [await voice(store, speaks="cartesia").say(text, "en") for text in texts]
    finally:
        for pipe in pipes:
            os.close(os.open(pipe, os.O_RDWR))

    assert said == [(f"en: {text}".encode(), "local") for text in texts]


@pytest.mark.parametrize("language", ["ru", "es-MX", "xx"])
def test_the_local_voice_speaks_in_every_language(language: str) -> None:
    pcm = say_locally("One moment. Two moments.", language, rate_hz=8000)

    assert len(pcm) > 8000


def test_texts_in_norwegian_are_those_of_the_language_no(tmp_path: Path) -> None:
    file = tmp_path / "texts.yaml"
    file.write_text("no:\n  filler: [Et øyeblikk, Ja, No]\n", encoding="utf-8")

    found = [(utterance.language, utterance.text) for utterance in load_utterances(file)]

    assert found == [("no", "Et øyeblikk"), ("no", "Ja"), ("no", "No")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("en: {filler: []}", "en.filler is []"),
        ("en: {nonsense: [a]}", "en.nonsense is not a situation"),
        ("- a", "must map languages to texts"),
        ("en: [", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("en: {filler: [!!int 5 minutes]}", "cannot be read"),
    ],
)
def test_invalid_texts_of_the_owner_are_reported_in_one_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "texts.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as wrong:
        load_utterances(file)

    assert problem in wrong.value.problems[0].line
    assert str(file) in wrong.value.problems[0].line
