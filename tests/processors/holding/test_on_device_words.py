"""The menu answered by voice: local recognition, and its effects."""

import asyncio
from collections import deque

import pytest

from calls.sentences import UNANSWERED
from processors.holding.on_device_words import BEFORE_S, MAX_SPOKEN_CHOICE_S, OnDeviceWords
from processors.holding.outage_rules import OutageSettings, Step
from tests.processors.holding.hold_bench import RATE_HZ, Call, held, sound
from tests.processors.ladder.owner import Owner

pytestmark = pytest.mark.virtual_time

BROWSER = OutageSettings(
    steps=(Step.CLIP, Step.WORDS, Step.CHOSEN, Step.GOODBYE), clips=0, silence_s=1.0
)
TELEPHONE = OutageSettings(clips=0, silence_s=1.0)
MENU = "Say callback or press one."


class Ear:
    """Understands the scripted utterances, one after another."""

    def __init__(self, *understood: str, takes_s: float = 0.05) -> None:
        self.usable = True
        self.warmed = 0
        self.heard_s: list[float] = []
        self._understood = deque(understood)
        self._takes_s = takes_s

    async def warm(self) -> None:
        self.warmed += 1

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        self.heard_s.append(len(pcm) / 2 / rate_hz)
        await asyncio.sleep(self._takes_s)
        return self._understood.popleft() if self._understood else ""


async def deaf(call: Call) -> None:
    """End a turn without a recogniser, and wait until the menu was read."""
    await call.stops()
    call.exhausted("stt")
    await call.until(lambda: call.steps)
    await call.until(lambda: not call.caller_line.queued_s(call.hold._now()))


async def test_a_spoken_choice_is_confirmed_and_done_after_a_yes() -> None:
    ear = Ear("callback", "yes")
    async with held(outage=TELEPHONE, ear=ear) as call:
        await deaf(call)
        await call.says_word()
        await call.until(lambda: "Shall we call you back?" in call.voice.said)
        await call.says_word()
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.desk.asked == [f"call back: {UNANSWERED['stt']}", "hang up: outage"]
    assert call.steps == ["words", "chosen", "goodbye"]
    assert call.voice.said[-4:] == [
        *(MENU, "Shall we call you back?", "We will call you back.", "Thank you and goodbye.")
    ]


async def test_the_turn_of_a_spoken_choice_does_not_read_the_menu_again() -> None:
    async with held(outage=TELEPHONE, ear=Ear("callback", takes_s=0.3)) as call:
        await deaf(call)
        await call.says_word()
        call.exhausted("llm")  # at once, before the word is understood
        await call.until(lambda: "Shall we call you back?" in call.voice.said)
        await asyncio.sleep(0.2)

    assert call.steps == ["words"]


async def test_speech_without_a_menu_word_chooses_nothing() -> None:
    async with held(outage=TELEPHONE, ear=Ear()) as call:
        await deaf(call)
        await call.says_word()
        call.exhausted("stt")
        await call.until(lambda: len(call.steps) == 2)

    assert call.steps == ["words", "words"]
    assert call.desk.asked == []


async def test_without_keys_a_message_is_chosen_and_left_by_voice() -> None:
    ear = Ear("two", "yes")
    async with held(outage=BROWSER, ear=ear, number=False) as call:
        await deaf(call)
        await call.says_word()
        await call.until(lambda: "Will you leave a message?" in call.voice.said)
        await call.says_word()
        await call.until(lambda: call.hold._executor.decision.outage.message)
        await asyncio.sleep(0.5)  # the prompt and the tone
        await call.says(0.3)
        await call.stops(decided=False)
        await call.until(lambda: "hang up: outage" in call.desk.asked, within_s=8.0)

    assert call.desk.asked == ["keep message", "hang up: outage"]
    assert "Say callback, message or person." in call.voice.said
    assert "Speak after the tone, then be silent." in call.voice.said
    assert len(ear.heard_s) == 2  # none of the message


async def test_in_another_language_only_the_keys_are_offered() -> None:
    ear = Ear("callback")
    async with held(outage=TELEPHONE, ear=ear) as call:
        call.hold._phrases.language = "es"
        await deaf(call)
        await call.says_word()
        await asyncio.sleep(0.2)

    assert call.steps[0] == "keypad"
    assert (ear.warmed, ear.heard_s) == (0, [])


async def test_after_a_call_has_moved_the_menus_words_are_recognised() -> None:
    kept = {"stage": "stt", "at": list(Step).index(Step.WORDS), "taken": {}, "explained": False}
    async with held(outage=TELEPHONE, ear=Ear("callback"), menu=kept) as call:
        await call.says_word()
        await call.until(lambda: "Shall we call you back?" in call.voice.said)


async def test_in_a_language_that_the_caller_changes_to_the_menus_words_are_recognised() -> None:
    async with held(outage=OutageSettings(clips=1, silence_s=1.0), ear=Ear("callback")) as call:
        call.hold._phrases.language = "es"
        await deaf(call)
        call.hold._phrases.language = "en"
        await call.until(lambda: call.hold.decision.outage.listens)
        await call.says_word()
        await call.until(lambda: "Shall we call you back?" in call.voice.said)


async def test_nothing_is_loaded_or_kept_until_a_stage_is_down() -> None:
    ear = Ear()
    async with held(outage=TELEPHONE, ear=ear) as call:
        await call.says_word()
        await call.answers()
        await asyncio.sleep(0.1)
        healthy = (ear.warmed, call.hold._executor.words._before_bytes)
        await deaf(call)

    assert healthy == (0, 0)
    assert ear.warmed == 1


async def test_speech_before_the_menu_is_not_recognised() -> None:
    ear = Ear("callback")
    async with held(outage=OutageSettings(silence_s=1.0), ear=ear) as call:
        await deaf(call)
        await call.says_word()
        await asyncio.sleep(0.2)

    assert call.steps[0] == "clip"
    assert ear.heard_s == []


async def test_an_utterance_includes_the_moment_before_it_and_a_long_one_is_no_choice() -> None:
    ear = Ear()
    words = OnDeviceWords(ear, clock=lambda: 0.0)
    words.start(Owner(), lambda _: None)  # type: ignore[arg-type]

    for length_s in (0.5, MAX_SPOKEN_CHOICE_S):
        for _ in range(100):
            words.sound(sound(500, 0.02), RATE_HZ)
        words.began(listens=True)
        for _ in range(round(length_s / 0.02)):
            words.sound(sound(500, 0.02), RATE_HZ)
        words.stopped()
    await asyncio.sleep(0.2)
    await words.stop()

    assert ear.heard_s == [pytest.approx(BEFORE_S + 0.5, abs=0.021)]
