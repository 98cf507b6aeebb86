"""Decides which of the VAD's windows are the caller's speech.

Speech begins after six windows of 32 ms in a row. One doubtful window between others does not begin
the count again, whatever it scores: in "What are" one scores 0.42, and without this rule every
fourth interruption is noticed 0.15 s later. A second one does, so that single clicks and coughs are
no speech.

A voice in the background, such as a television, brings no words. A turn lasts as long as the VAD
hears speech. If that goes on after the caller's words, without a pause and without new words for
`WORDLESS_S`, the caller has finished, and what is heard is the background. So is speech that never
brought a word, if a recogniser is at work on it. From then on sound up to `LOUDER` times as strong
is not the caller's, so that it neither keeps a turn open nor interrupts the agent. Words end this
at once: they may be those of a quiet caller.
"""

from collections.abc import Callable
from math import inf
from typing import Final


class BeginningOfSpeech:
    """Lets one doubtful window pass in each beginning of speech."""

    def __init__(self) -> None:
        self._doubted = False

    def score(self, sure: float, *, asked: float, starting: bool) -> float:
        """Return what a window counts as.

        Args:
            sure: The probability that it is speech.
            asked: The one that makes it speech.
            starting: The window before it was speech, and speech has not begun.
        """
        if not starting:
            self._doubted = False
            return sure
        if sure >= asked or self._doubted:
            return sure
        self._doubted = True
        return asked


WORDLESS_S: Final = 3.0  # of speech without new words: recognisers write within 1 s (chosen)
OWN_S: Final = 1.0  # after a word the caller's own sound may last (chosen)
LOUDER: Final = 2.0  # 6 dB (chosen)
APART_S: Final = 0.5  # a longer pause begins another sound (chosen)
GONE_S: Final = 10.0  # without such sound, the background is forgotten (chosen)


class Background:
    """Decides for one call. Moments are monotonic, in seconds; levels are root mean squares.

    background = Background()
    background.worded("How much is a haircut?", 100.0)
    background.hides(500.0, 102.0)  # False: the caller may go on
    background.hides(500.0, 103.0)  # True, and so is any sound up to 1000

    Attributes:
        listens: Returns whether a recogniser is at work: it would have written words.
    """

    def __init__(self) -> None:
        self.listens: Callable[[], bool] = lambda: False
        self._text = ""
        self._worded = False  # the turn in progress has words
        self._since = inf  # of speech without new words
        self._loudest = 0.0  # since then
        self._level: float | None = None  # of the background; `None` if there is none
        self._sounded_at = -inf  # when speech, or the background, was heard last

    def worded(self, text: str, now: float) -> None:
        """Record words of the caller; the same ones again are not new."""
        if not text.strip() or text == self._text:
            return
        self._text, self._worded, self._since = text, True, now
        self._level, self._loudest = None, 0.0

    def deaf(self) -> None:
        """Record that a recogniser failed: that no words come proves nothing, and hides no one."""
        self._level, self._loudest = None, 0.0
        self._worded, self._since = False, inf

    def turn_over(self) -> None:
        """Record that the turn is over."""
        self._text, self._worded, self._since = "", False, inf

    def hides(self, level: float, now: float) -> bool:
        """Return whether sound that the VAD takes for speech is the background's."""
        apart_s, self._sounded_at = now - self._sounded_at, now
        if self._level is not None:
            if apart_s <= GONE_S:
                return level <= LOUDER * self._level
            self._level = None
        if self._since == inf or apart_s > APART_S:
            self._since, self._loudest = now, 0.0
        if now - self._since >= OWN_S:
            self._loudest = max(self._loudest, level)
        if now - self._since < WORDLESS_S or not (self._worded or self.listens()):
            return False
        self._level, self._worded, self._since = self._loudest, False, inf
        return True
