"""Decides which of the VAD's windows are the caller's speech.

Speech begins after five windows of 32 ms in a row. With six, Pipecat's default, a tenth of the
interruptions was noticed after more than 0.30 s; with five, after more than 0.26 s (128 beginnings
in the lab's voices). A single doubtful window among them does not
restart the count, however low it scores: in "What are" one window scores 0.42, and without this
rule every fourth interruption would be noticed 0.15 s later. A second doubtful window does restart
it, so a click or a cough does not count as speech.

The VAD also hears a voice in the background, such as a television, and a turn lasts as long as the
VAD hears speech. But a recogniser finds no new words in the background. If the sound goes on after
the caller's words, without a pause and without new words for `WORDLESS_S`, the caller has finished,
and the rest is background. The same applies to sound that never contained a word, provided that a
recogniser is working. From then on, sound up to `LOUDER` times as loud is ignored: it neither keeps
a turn open nor interrupts the agent. New words end this at once, because a quiet caller may have
said them.
"""

from collections.abc import Callable
from math import inf
from typing import Final

START_S: Final = 0.16  # of speech in a row, before it counts as the caller's: five windows


class BeginningOfSpeech:
    """Counts one doubtful window as speech each time speech begins."""

    def __init__(self) -> None:
        self._doubted = False

    def score(self, probability: float, *, threshold: float, starting: bool) -> float:
        """Return the probability to use for a window.

        Args:
            probability: The model's probability that the window is speech.
            threshold: The lowest probability at which a window counts as speech.
            starting: The previous window was speech, and speech has not begun yet.
        """
        if not starting:
            self._doubted = False
            return probability
        if probability >= threshold or self._doubted:
            return probability
        self._doubted = True
        return threshold


WORDLESS_S: Final = 3.0  # speech without new words; recognisers need less than 1 s (chosen)
AFTER_WORDS_S: Final = (
    1.0  # how long the caller may still be speaking after their last word (chosen)
)
LOUDER: Final = 2.0  # 6 dB (chosen)
NEW_SOUND_S: Final = 0.5  # after a longer pause, a new sound begins (chosen)
FORGOTTEN_S: Final = 10.0  # after this long without sound, the background is forgotten (chosen)


class Background:
    """Tells the background from the caller, in one call.

    Moments are monotonic, in seconds; levels are root mean squares of 16-bit samples.

    background = Background()
    background.worded("How much is a haircut?", 100.0)
    background.hides(500.0, 102.0)  # False: the caller may still be speaking
    background.hides(500.0, 103.0)  # True; from now on up to a level of 1000

    Args:
        listens: Returns whether a recogniser is working, so that words would be transcribed.
    """

    def __init__(self, *, listens: Callable[[], bool] = lambda: False) -> None:
        self._listens = listens
        self._text = ""
        self._worded = False  # the turn in progress has words
        self._wordless_since = inf  # when speech without new words began
        self._loudest = 0.0  # the loudest level since then
        self._level: float | None = None  # of the background; `None` if there is none
        self._sounded_at = -inf  # when the VAD last heard speech or background

    def worded(self, text: str, now: float) -> None:
        """Record a transcript of the turn so far; an unchanged one brings no new words."""
        if not text.strip() or text == self._text:
            return
        self._text, self._worded, self._wordless_since = text, True, now
        self._level, self._loudest = None, 0.0

    def recogniser_failed(self) -> None:
        """Record that a recogniser failed: a lack of words no longer suggests background."""
        self._level, self._loudest = None, 0.0
        self._worded, self._wordless_since = False, inf

    def turn_over(self) -> None:
        """Record that the turn is over.

        The level of a known background is kept.
        """
        self._text, self._worded, self._wordless_since = "", False, inf

    def hides(self, level: float, now: float) -> bool:
        """Return whether sound that the VAD takes for speech is background.

        Called for each such window, because the time between calls counts as a pause.
        """
        pause_s, self._sounded_at = now - self._sounded_at, now
        if self._level is not None:
            if pause_s <= FORGOTTEN_S:
                return level <= LOUDER * self._level
            self._level = None  # the background is gone
        if self._wordless_since == inf or pause_s > NEW_SOUND_S:
            self._wordless_since, self._loudest = now, 0.0
        if now - self._wordless_since >= AFTER_WORDS_S:
            self._loudest = max(self._loudest, level)
        if now - self._wordless_since < WORDLESS_S or not (self._worded or self._listens()):
            return False
        self._level, self._worded, self._wordless_since = self._loudest, False, inf
        return True
