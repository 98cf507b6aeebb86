"""Makes a call's fallbacks from the settings: late answers, the outage menu, the voice."""

from collections.abc import Callable, Sequence
from functools import partial

from bot.call.last_resort import LastResort
from bot.clips.store import CallVoice, ClipStore
from configuration.agent import AgentSettings
from configuration.rungs import follows_caller, rung_of
from configuration.sections import HoldLineSettings
from configuration.settings import Settings
from processors.holding.late_answer_rules import Holding, HoldSettings
from processors.holding.menu_rules import CHOICES, LANGUAGE
from processors.holding.on_device_words import NoEar, WordEar
from processors.holding.outage_rules import Step
from processors.holding.own_voice import Phrases
from processors.holding.utterance_rules import Situation
from providers.local_tts import say_locally


def holding_of(hold: HoldLineSettings) -> Holding:
    """Return the rules for late answers, with the configured times."""
    return Holding(
        HoldSettings(
            first_s=hold.first_s,
            last_s=hold.last_s,
            clip_s=hold.clip_s,
            silence_s=hold.silence_s,
            turns_apart=hold.turns_apart,
        )
    )


def menu_steps(steps: Sequence[Step], *, keys: bool) -> list[Step]:
    """Return the outage menu's steps on this line; `keys`: whether the line carries keypad digits.

    `LOCAL` is not a step of the menu. Without keys, `KEYPAD` is left out, and `CHOSEN` too unless
    callers can choose by word.
    """
    left_out = {Step.LOCAL} if keys else {Step.LOCAL, Step.KEYPAD}
    if not keys and Step.WORDS not in steps:
        left_out |= {Step.CHOSEN}
    return [step for step in steps if step not in left_out]


def menu_ear(last_resort: LastResort, steps: Sequence[Step], *, keys: bool) -> WordEar:
    """Return the recogniser of the menu's words; `NoEar` without its step or its texts."""
    menu = Situation.MENU_EITHER if keys else Situation.MENU_WORDS
    needed = {menu, *(entry.question for entry in CHOICES.values())}
    found = {fallback_text.situation for fallback_text in last_resort.texts(LANGUAGE)}
    return last_resort.ear if Step.WORDS in steps and found >= needed else NoEar()


def call_voice(
    clips: ClipStore,
    settings: Settings,
    agent: AgentSettings,
    *,
    rate_hz: int,
    speaking: Callable[[], str | None],
) -> CallVoice:
    """Return the voice of the fallback texts; `speaking` returns the name of the active rung."""
    ladder = settings.stages.tts
    rungs = [rung_of(item, "tts", agent=agent, sample_rate_hz=rate_hz) for item in ladder]
    like = next((rung for rung in rungs if rung.kind == "local"), None)
    return CallVoice(
        clips,
        voices={rung.name: rung for rung in rungs},
        following=frozenset(item.name for item in ladder if follows_caller(item, agent)),
        speaking=speaking,
        local=partial(say_locally, rate_hz=rate_hz, like=like),
        rate_hz=rate_hz,
    )


def reads_number(last_resort: LastResort, phrases: Phrases) -> bool:
    """Return whether the caller's number is known and there are texts to read it out."""
    texts = {text.situation for text in last_resort.texts(phrases.language)}
    return bool(phrases.number and texts >= {Situation.ASK_NUMBER, Situation.CONFIRM_NUMBER})
