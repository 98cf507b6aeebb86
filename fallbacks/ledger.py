"""What of an utterance was handed to a voice, has arrived as sound, and was let go to the line.

A word has arrived when its last sample has, with a margin, for the providers' word times are not
exact. When a rung dies, the rest begins at the first word that has not arrived, and what came of
that word is dropped, so that every word is heard once. That works as long as no more is let go to
the line than `let_go_s` says: the sound of whole words, or, before silence, whatever came.
"""

from dataclasses import dataclass
from typing import Final

from fallbacks.word_times import WordFollower, WordTimes, sayable

MARGIN_S: Final = 0.05  # word times against samples, as seen with both voices (chosen)
# ElevenLabs tells whole milliseconds, rounded anew in each message: in a long sentence they add up.
ROUNDING_S: Final = 0.01
LEAD_S: Final = 0.1  # the line is fed with half words rather than let run dry sooner than this
UNTIMED_S: Final = 0.6  # so much sound without any word time: this voice gives none today


@dataclass(slots=True)
class _Voice:
    """The rung that speaks now."""

    attempt: int
    follower: WordFollower
    done: int  # it says that it has spoken everything before this word
    done_s: float  # and its sound up to here
    arrived: int  # the first word that has not fully arrived; it only grows
    received_s: float = 0.0


class SpeechLedger:
    """Every word of one utterance, once.

        ledger = SpeechLedger()
        ledger.hand_over("We open at nine. ")
        ledger.begin(1)                                 # "We open at nine."
        ledger.word(1, "We", start_s=0.0, end_s=0.2)
        ledger.audio(1, 0.3)
        ledger.rest                                     # "open at nine."

    Attributes:
        words: When each is spoken.
        released_s: How much of the sound went to the line.
    """

    def __init__(self) -> None:
        self.words = WordTimes()
        self.released_s = 0.0
        follower = self.words.begin_voice(0, 0.0, timed=True)
        self._voice = _Voice(attempt=-1, follower=follower, done=0, done_s=0.0, arrived=0)

    @property
    def rest(self) -> str:
        """What has not fully arrived, and what the next rung would have to say; empty: nothing."""
        return self.words.joined(self._arrived())

    @property
    def sent(self) -> bool:
        """Whether the sound has come as far as the voice's own times of all words go.

        They are not exact, so a word may be owed that was sent; its silence is no gap, though.
        """
        owed = self.words.words[self._arrived() :]
        there_s = self.received_s + ROUNDING_S
        return all(word.end_s is not None and word.end_s <= there_s for word in owed)

    @property
    def received_s(self) -> float:
        """The sound of the utterance there is, in seconds, what was dropped left out."""
        return self.words.base_s + self._voice.received_s

    @property
    def keep_s(self) -> float:
        """Up to where the sound is good if the voice dies now; what came after it is dropped."""
        voice, arrived = self._voice, self._arrived()
        if not self.words.timed:
            return self.received_s
        ends = [self.words.end_s(each) for each in range(arrived - 1, voice.done - 1, -1)]
        clean_s = next((end_s for end_s in ends if end_s is not None), voice.done_s)
        return max(min(clean_s, self.received_s), min(self.released_s, self.received_s))

    def hand_over(self, text: str) -> None:
        """Add text that is to be spoken, in pieces of any size."""
        self.words.add_text(text, may_join=self._arrived() < len(self.words.words))

    def begin(self, attempt: int, *, timed: bool = True) -> str:
        """Let another attempt speak the rest, and return it.

        Args:
            attempt: Its number; what comes from earlier ones is ignored from now on.
            timed: Whether this voice says when each word is spoken; if not, that is estimated.
        """
        first, base_s = self._arrived(), self.keep_s
        follower = self.words.begin_voice(first, base_s, timed=timed)
        self._voice = _Voice(
            attempt=attempt, follower=follower, done=first, done_s=base_s, arrived=first
        )
        return self.rest

    def audio(self, attempt: int, length_s: float) -> None:
        """Note that so much sound has arrived."""
        voice = self._voice
        if voice.attempt != attempt:
            return
        voice.received_s += length_s
        if not voice.follower.begun and voice.received_s > UNTIMED_S:
            self.words.timed = False

    def word(self, attempt: int, said: str, *, start_s: float, end_s: float | None = None) -> None:
        """Note when a word is spoken, in seconds of this attempt's own sound."""
        if self._voice.attempt != attempt:
            return
        self.words.timed = True
        base_s = self.words.base_s
        end_s = None if end_s is None else end_s + base_s
        self._voice.follower.follow(said, start_s=start_s + base_s, end_s=end_s)

    def done(self, attempt: int) -> None:
        """Note that the voice has spoken all that was handed over until now."""
        voice = self._voice
        if voice.attempt != attempt:
            return
        self.words.fill(self.received_s)
        voice.done, voice.done_s = len(self.words.words), self.received_s

    def let_go_s(self, queued_s: float) -> float:
        """Return up to where the utterance's sound may be let go to the line.

        Args:
            queued_s: What is queued on the line and not yet played. If that is little, half words
                are better than silence.
        """
        return self.received_s if queued_s < LEAD_S else self.keep_s

    def _arrived(self) -> int:
        """The first word whose sound has not fully arrived."""
        voice = self._voice
        voice.arrived = max(voice.arrived, voice.done)
        while voice.arrived < len(self.words.words) and _is_whole(self, voice.arrived):
            voice.arrived += 1
        return voice.arrived


def _is_whole(ledger: SpeechLedger, at: int) -> bool:
    """Say whether the sound of a word has surely come."""
    if not sayable(ledger.words.words[at].text):
        return at > 0  # a dash comes with the word before it
    end_s = ledger.words.end_s(at)
    if end_s is None or end_s > ledger.received_s + ROUNDING_S:
        return False
    sure = end_s + MARGIN_S <= ledger.received_s
    return sure or end_s - MARGIN_S <= ledger.released_s  # or on the line already
