"""What a caller hears who waits for a person: soft tones, and a word every ten seconds."""

from dataclasses import dataclass
from typing import Final, TypeAlias

TONE_EVERY_S: Final = 1.6  # with the tone's own length no silence reaches 2 s
WORD_EVERY_S: Final = 10.0  # chosen: often enough that nobody thinks the line is dead
LEAD_S: Final = 0.1  # before the line runs dry


@dataclass(frozen=True, slots=True)
class SoundTone:
    """Play one soft tone, and the pause behind it."""


@dataclass(frozen=True, slots=True)
class SayWord:
    """Say that it still takes a moment."""


HoldSound: TypeAlias = SoundTone | SayWord


class HoldRhythm:
    """Says what is due whenever the line is about to run dry; nothing while anybody speaks."""

    def __init__(self) -> None:
        self._on = False
        self._caller_speaks = False
        self._word_at = 0.0

    @property
    def on(self) -> bool:
        """Whether a caller waits."""
        return self._on

    def start(self, now: float) -> None:
        """Begin; the announcement was a word."""
        self._on, self._word_at = True, now + WORD_EVERY_S

    def stop(self) -> None:
        """Fall silent."""
        self._on = False

    def hurry(self, now: float) -> None:
        """Have a word be due next: the caller has asked again."""
        self._word_at = now

    def caller(self, *, speaks: bool) -> None:
        """Note that the caller began to speak, or ceased."""
        self._caller_speaks = speaks

    def wake_at(self, dry_at: float) -> float | None:
        """Return when something is due, given when the line runs dry."""
        return dry_at - LEAD_S if self._on and not self._caller_speaks else None

    def tick(self, now: float, dry_at: float) -> HoldSound | None:
        """Return what is due, if anything is."""
        wake_at = self.wake_at(dry_at)
        if wake_at is None or now < wake_at:
            return None
        if now < self._word_at:
            return SoundTone()
        self._word_at = now + WORD_EVERY_S
        return SayWord()
