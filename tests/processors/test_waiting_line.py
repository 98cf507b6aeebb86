"""What a caller hears who waits for a person, and in which language."""

import pytest

from calls.line import CallerLine
from calls.turn import Turn
from processors.holding.own_voice import Phrases, SpokenClip
from processors.holding.utterance_rules import Chooser, Situation, utterances_of
from processors.transfer.waiting_line import WaitingLine
from processors.turn.floor import Floor
from tests.processors.hold_bench import CLIP, RATE_HZ, Voice, sound

TEXTS = {"en": {"person": ["I am connecting you."]}, "es": {"person": ["Le paso."]}}


class Tongues(Voice):
    """Records texts with their languages."""

    def __init__(self) -> None:
        super().__init__()
        self.spoken: list[tuple[str, str]] = []

    async def say(self, text: str, language: str) -> SpokenClip:
        self.spoken.append((text, language))
        return SpokenClip(sound(CLIP, 0.1), "cartesia")


@pytest.mark.parametrize(
    ("caller", "situation", "spoken"),
    [
        ("es", Situation.PERSON, ("Le paso.", "es")),
        ("es-MX", Situation.PERSON, ("Le paso.", "es")),
        ("de", Situation.PERSON, ("I am connecting you.", "en")),  # there is no German text
        ("es", Situation.NOT_REACHED, ("I am sorry, nobody could be reached just now.", "en")),
    ],
)
async def test_a_text_is_spoken_in_its_own_language(
    caller: str, situation: Situation, spoken: tuple[str, str]
) -> None:
    voice = Tongues()
    line = CallerLine()
    waiting = WaitingLine(
        phrases=Phrases(chooser=Chooser(utterances_of(TEXTS)), language=caller),
        voice=voice,
        remember=lambda _: None,
        line=line,
        floor=Floor(line),
        turn=Turn(budget_s=1.5),
        emit=lambda _: None,
        clock=lambda: 100.0,
    )
    waiting._speaker.rate_hz = RATE_HZ

    assert await waiting.say(situation)
    assert voice.spoken == [spoken]
