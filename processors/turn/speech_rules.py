"""Decides which of the VAD's windows count when sound may become speech.

Speech begins after six windows of 32 ms in a row. One doubtful window between others does not begin
the count again, whatever it scores: in "What are" one scores 0.42, and without this rule every
fourth interruption is noticed 0.15 s later. A second one does, so that single clicks and coughs are
no speech.
"""


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
