"""The sounds for a caller who waits for a person: soft tones, and a phrase every ten seconds."""

from enum import StrEnum
from typing import Final

from processors.turn.floor import Floor

TONE_EVERY_S: Final = 1.6  # from one tone to the next, so that no silence reaches 2 s
WORD_EVERY_S: Final = 10.0  # often enough that the line does not seem dead (chosen)
LEAD_S: Final = 0.1  # before the audio on the line ends


class HoldSound(StrEnum):
    """What to play."""

    TONE = "tone"  # a soft tone and the pause after it
    WORD = "word"  # a phrase: it takes a moment longer


class HoldRhythm:
    """Decides what to play when the line is about to fall silent, unless the caller speaks."""

    def __init__(self, floor: Floor) -> None:
        self._on = False
        self._floor = floor
        self._word_at = 0.0

    def start(self, now: float) -> None:
        """Begin; the announcement counts as a phrase."""
        self._on, self._word_at = True, now + WORD_EVERY_S

    def stop(self) -> None:
        """Play nothing from now on."""
        self._on = False

    def hurry(self, now: float) -> None:
        """Make a phrase due next, because the caller has asked again."""
        self._word_at = now

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        waits = self._on and not self._floor.caller_speaking
        return self._floor.agent_sounds_until - LEAD_S if waits else None

    def tick(self, now: float) -> tuple[HoldSound, ...]:
        """Return what to play now, if anything.

        Until it is on the line, a tone remains due; a phrase that is returned counts as said.
        """
        if self.wake_at is None or now < self.wake_at:
            return ()
        if now < self._word_at:
            return (HoldSound.TONE,)
        self._word_at = now + WORD_EVERY_S
        return (HoldSound.WORD,)
