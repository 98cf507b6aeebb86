"""The TTS stage with voices whose word times do not fit their sound."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from fallbacks.events import WordTimesRejected
from lab.simulators import faults
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from processors.speaking.rung import VoiceRung
from tests.processors.speaking.tts_bench import Talk, policy, talking

pytestmark = pytest.mark.virtual_time

FIRST = "A haircut costs forty euros. It takes about half an hour on most of the days."
TEXT = "Hello there, this is Holdline, how are you doing today?"
VOICES = ("cartesia", "elevenlabs")
Drift = Callable[[float], float]
DRIFTS: dict[str, Drift] = {
    "late": lambda s: s + 0.4,
    "early": lambda s: max(0.0, s - 0.4),
    "in another rate": lambda s: 0.8 * s,
}
BEYOND: Drift = lambda s: 1.25 * s  # noqa: E731 - the voice seems to leave words out


@pytest.fixture
def drift(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the times that Cartesia's voice reports."""
    report, change = VoiceRung.word, {**DRIFTS, "stretched": BEYOND}[request.param]

    async def drifted(
        rung: VoiceRung, *word: Any, start_s: float, end_s: float | None = None, **more: Any
    ) -> None:
        if rung.name == "cartesia":
            start_s, end_s = change(start_s), None if end_s is None else change(end_s)
        await report(rung, *word, start_s=start_s, end_s=end_s, **more)

    monkeypatch.setattr(VoiceRung, "word", drifted)


async def say(talk: Talk, text: str) -> None:
    before = len(talk.said)
    await talk.reply(*text.split())
    await talk.until(lambda: len(talk.said) > before, within_s=15.0)


def rejected(talk: Talk) -> list[WordTimesRejected]:
    return [event for event in talk.told if isinstance(event, WordTimesRejected)]


@pytest.mark.parametrize("drift", DRIFTS, indirect=True)
@pytest.mark.usefixtures("drift")
async def test_a_voice_whose_times_drift_loses_no_word_when_it_breaks(lab: Lab) -> None:
    shared = policy(VOICES, time.monotonic())
    async with talking(lab, shared=shared) as talk:
        await say(talk, FIRST)
        await say(talk, FIRST)
        assert len(rejected(talk)) == 1
        lab.instance("cartesia").set_faults([Window(fault=faults.Cut(after_words=4, how="reset"))])
        await say(talk, TEXT)

    second = [word.text for word in talk.spoken_by("elevenlabs")]
    assert talk.said == [FIRST, FIRST, TEXT]
    assert second in (TEXT.split()[4:], TEXT.split()[3:])
    assert len(rejected(talk)) == 1


@pytest.mark.parametrize("drift", ["late"], indirect=True)
@pytest.mark.usefixtures("drift")
async def test_a_drift_is_found_within_a_reply_that_breaks_later(lab: Lab) -> None:
    text = f"{FIRST} {TEXT}"
    first = len(FIRST.split())
    lab.instance("cartesia").set_faults(
        [Window(fault=faults.Cut(after_words=first + 4, how="reset"))]
    )
    shared = policy(VOICES, time.monotonic())
    async with talking(lab, shared=shared) as talk:
        await say(talk, text)

    second = [word.text for word in talk.spoken_by("elevenlabs")]
    assert talk.said == [text]
    assert second in (TEXT.split()[4:], TEXT.split()[3:])
    assert shared.drifting == {"cartesia"}


@pytest.mark.parametrize("drift", ["stretched"], indirect=True)
@pytest.mark.usefixtures("drift")
async def test_times_beyond_the_sound_are_no_missing_words_once_they_are_known(lab: Lab) -> None:
    shared = policy(VOICES, time.monotonic())
    async with talking(lab, shared=shared) as talk:
        await say(talk, FIRST)
        await say(talk, FIRST)
        asked = len(talk.asked)
        await say(talk, TEXT)

    assert talk.said == [FIRST, FIRST, TEXT]
    assert shared.drifting == {"cartesia"}
    assert talk.asked[asked:] == ["cartesia"]


@pytest.mark.parametrize("voices", [VOICES, VOICES[::-1]])
async def test_right_times_are_used(lab: Lab, voices: tuple[str, ...]) -> None:
    shared = policy(voices, time.monotonic())
    async with talking(lab, voices, shared=shared) as talk:
        for text in (FIRST, TEXT, FIRST):
            await say(talk, text)

    assert talk.asked == [voices[0]] * 3
    assert (rejected(talk), shared.drifting, shared.suspected) == ([], set(), set())
    assert shared.confirmed[voices[0]] >= 2
