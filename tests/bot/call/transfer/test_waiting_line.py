"""The sentences for a caller who waits for a person, and their language."""

import pytest

from bot.call.transfer.waiting_line import WaitingLine
from calls.line import CallerLine
from processors.holding.own_voice import Phrases
from processors.holding.utterance_rules import Chooser, Situation, utterances_of

TEXTS = {"en": {"person": ["I am connecting you."]}, "es": {"person": ["Le paso."]}}


@pytest.mark.parametrize(
    ("caller", "situation", "spoken"),
    [
        ("es", Situation.PERSON, ("Le paso.", "es")),
        ("es-MX", Situation.PERSON, ("Le paso.", "es")),
        ("de", Situation.PERSON, ("I am connecting you.", "en")),  # there is no German text
        ("es", Situation.NOT_REACHED, ("I am sorry, nobody could be reached just now.", "en")),
        ("de", Situation.BACK, ("I am back with you. Is there anything else?", "en")),
    ],
)
async def test_a_text_is_spoken_in_its_own_language(
    caller: str, situation: Situation, spoken: tuple[str, str]
) -> None:
    said: list[tuple[str, str]] = []

    async def say(text: str, language: str, *, protected: bool) -> None:
        said.append((text, language))

    waiting = WaitingLine(
        phrases=Phrases(chooser=Chooser(utterances_of(TEXTS)), language=caller),
        say=say,
        line=CallerLine(),
        clock=lambda: 100.0,
    )

    assert await waiting.say(situation)
    assert said == [spoken]
