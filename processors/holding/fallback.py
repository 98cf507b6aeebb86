"""What a call falls back on when providers fail: decisions, phrases, a voice, a desk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from calls.events import TranscriptFinal
from processors.holding.clip import ClipVoice
from processors.holding.descent_rules import Descent
from processors.holding.desk import Desk
from processors.holding.late_answer_rules import Holding
from processors.holding.on_device_words import WordEar
from processors.holding.utterance_rules import Chooser, FallbackText, Situation

HEARD_CHARACTERS: Final = 300  # of what the caller lately said: enough to find its topic


@dataclass(slots=True, kw_only=True)
class Phrases:
    """What can be said, and in which language."""

    chooser: Chooser
    language: str
    heard: str = ""  # what the caller lately said

    def take_in(self, transcript: TranscriptFinal) -> None:
        """Note what the caller said."""
        self.heard = transcript.text[-HEARD_CHARACTERS:]

    def follow(self, language: str) -> None:
        """Speak another language from now on."""
        self.language = language

    def choose(
        self, situations: tuple[Situation, ...], *, topical: bool, again: bool = False
    ) -> FallbackText | None:
        """Return an utterance for the first situation that has one left.

        Args:
            situations: What happened, in the order of preference.
            topical: It may be about what the caller lately spoke of.
            again: Where none is left, one that was said before will do.
        """
        heard = self.heard if topical else ""
        found = (
            self.chooser.choose(each, self.language, heard=heard, again=worn)
            for worn in (False, again)
            for each in situations
        )
        return next((each for each in found if each), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What a call falls back on.

    Attributes:
        holding: Decides when an answer is late.
        descent: Decides what is done while a stage is down.
        phrases: What is said.
        voice: Says it.
        desk: Does what a caller chose from the menu.
        ear: Hears the menu's words on this machine.
        remember: Takes what becomes part of the assistant's context.
    """

    holding: Holding
    descent: Descent
    phrases: Phrases
    voice: ClipVoice
    desk: Desk
    ear: WordEar
    remember: Callable[[str], None]
