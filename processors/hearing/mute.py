"""While the caller is muted, recognisers get silence, and no speech is expected of them."""

from typing import Final, TypeAlias

from pipecat.frames.frames import VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame

from processors.turn.ending import PauseBegan

MUTED_S: Final = 0.02  # a piece of audio; a stop after 0 s would cancel the words so far

SpeechReport: TypeAlias = VADUserStartedSpeakingFrame | PauseBegan | VADUserStoppedSpeakingFrame


class CallerMute:
    """Decides which of the VAD's reports count while a pipeline mutes and unmutes the caller.

    Speech that is muted in the middle ends there, and speech that is unmuted in the middle begins
    there.

    Attributes:
        muted: Whether the caller is muted.
    """

    def __init__(self) -> None:
        self.muted = False
        self._speaking = False  # the VAD's latest report, also while muted

    def set(self, *, mute: bool) -> SpeechReport | None:
        """Mute or unmute the caller; return the report that counts now, if they are speaking.

        `None` also if nothing changes.
        """
        changes, self.muted = mute is not self.muted, mute
        if not (changes and self._speaking):
            return None
        return (
            VADUserStoppedSpeakingFrame(stop_secs=MUTED_S)
            if mute
            else VADUserStartedSpeakingFrame(start_secs=0.0)
        )

    def report(self, report: SpeechReport) -> SpeechReport | None:
        """Record the VAD's report; return it, or `None` while the caller is muted."""
        self._speaking = isinstance(report, VADUserStartedSpeakingFrame | PauseBegan)
        return None if self.muted else report
