"""Checks the word times that a voice reports against its own sound, sentence by sentence.

Some services restart their times in each sentence, count in another sample rate, or leave out the
silence at the beginning. The first sentences of a voice are aligned, and later each sentence that
is in doubt: the pause after it is not where it is reported, or a reported word is silent. No caller
waits for that. If the words lie elsewhere twice in a row, the voice's reports are ignored until the
process ends: its words are found as those of a voice that reports none.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import Final

from fallbacks.events import WordTimesRejected
from fallbacks.ladder import StagePolicy
from fallbacks.word_times import WordTimes
from processors.speaking.alignment_rules import KeptSound, SoundAligned
from runtime.pcm import AUDIBLE

DRIFT_S: Final = 0.2  # more than voices and alignments err together (chosen)
CONFIRMED: Final = 3  # alignments that agree with a voice's times; then only doubts are checked
CHECKS: Final = 3  # the most alignments for a voice in one utterance
LEAST_WORDS: Final = 3  # with fewer words, an alignment proves nothing (chosen)
LEAST_WORD_S: Final = 0.1  # a shorter word may be silent
LEAST_GAP_S: Final = 0.12  # a shorter reported gap need not be a pause (chosen)
PAUSE_S: Final = 0.06  # the shortest pause between sentences (chosen)
AHEAD_S: Final = 0.3  # of sound behind a sentence: its pause must have ended
STEP_S: Final = 0.01
SENTENCE_ENDS: Final = tuple(".!?\u2026\u3002\uff01\uff1f\u0964\u061f")
QUOTES: Final = "\"'\u201d\u2019\u00bb)]"


class TimeCheck:
    """Checks the reports of the voices of one utterance."""

    def __init__(self, policy: StagePolicy) -> None:
        self._policy = policy
        self._attempt, self._provider = 0, ""
        self._left = 0  # how often the voice may still be checked
        self._first = 0  # the first word of the sentence that was not checked
        self._seen = 0  # the words before this one are not the first of a further sentence

    def check_voice_from(self, attempt: int, provider: str, first: int) -> None:
        """Check another voice, from this word on."""
        self._attempt, self._provider = attempt, provider
        self._first = self._seen = first
        self._left = CHECKS

    def ignores(self, provider: str) -> bool:
        """Return whether the reports of a voice are not right."""
        return provider in self._policy.drifting

    def doubts(self, words: WordTimes, kept: KeptSound, received_s: float) -> bool:
        """Return whether a sentence whose sound has come must be checked.

        The sound of sentences that need no check is dropped from `kept`. Each `True` uses up one of
        the voice's checks.
        """
        while (at := self._seen) < len(words.words) and words.timed and self._left:
            start_s = words.words[at].start_s
            if start_s is None:
                break
            if at > self._first and _ends_sentence(words, at - 1):
                if received_s < start_s + AHEAD_S:
                    break
                if self._is_new or not _agree_with_pauses(words, kept, self._first, at, start_s):
                    self._seen = at + 1
                    self._left -= 1
                    return True
                kept.forget(at, start_s)
                self._first = at
            self._seen += 1
        return False

    def doubts_end(self, words: WordTimes, kept: KeptSound, audible_s: float) -> bool:
        """Return whether the last sentence of a voice that has ended must be checked.

        `True` uses up all checks of the voice.
        """
        last = len(words.words)
        while last > self._first and not words.words[last - 1].letters:
            last -= 1
        end_s = words.end_s(last - 1) if last > self._first else None
        if not self._left or end_s is None or not words.timed:
            return False
        is_off = abs(audible_s - end_s) > DRIFT_S
        if self._is_new or is_off or not _agree_with_pauses(words, kept, self._first, last, None):
            self._left = 0
            return True
        return False

    def judge(self, aligned: SoundAligned) -> WordTimesRejected | None:
        """Record for all calls if a voice's times are right; return an event if they are not.

        Two alignments in a row must tell that they are not: a single one may be wrong. One without
        a result counts as agreement.
        """
        policy, provider, drift_s = self._policy, self._provider, drift_of(aligned)
        if aligned.attempt != self._attempt:  # of an earlier voice
            return None
        if drift_s is None and aligned.ends_s is not None:
            return None
        if drift_s is None or drift_s <= DRIFT_S:  # without an alignment, nothing is known
            policy.confirmed[provider] += 1
            if aligned.asked.ended:  # a drift grows: the first words say little
                policy.suspected.discard(provider)
        elif provider not in policy.suspected:
            policy.suspected.add(provider)
        elif provider not in policy.drifting:
            policy.drifting.add(provider)
            return WordTimesRejected(stage="tts", provider=provider, drift_s=drift_s)
        return None

    @property
    def _is_new(self) -> bool:
        """Whether too few alignments agree with the voice's times."""
        policy, provider = self._policy, self._provider
        return policy.confirmed[provider] < CONFIRMED or provider in policy.suspected


def drift_of(aligned: SoundAligned) -> float | None:
    """Return by how many seconds the reported ends of the last words differ from the sound.

    `None` if too few words were found. The last one counts only if the sound surely ends with it.
    """
    asked = aligned.asked
    found = list(aligned.ends_s or ())
    sure = found if asked.ended else found[:-1]
    pairs = zip(sure, asked.reported_s or (), strict=False)
    errors = [abs(end_s - reported_s) for end_s, reported_s in pairs if reported_s is not None]
    return median(errors[-LEAST_WORDS:]) if len(errors) >= LEAST_WORDS else None


def _ends_sentence(words: WordTimes, at: int) -> bool:
    return words.words[at].text.rstrip(QUOTES).endswith(SENTENCE_ENDS)


def _agree_with_pauses(
    words: WordTimes, kept: KeptSound, first: int, after: int, next_s: float | None
) -> bool:
    """Return whether the reported times of a sentence agree with the pauses of its sound.

    Args:
        words: The words of the utterance.
        kept: The sound.
        first: The sentence's first word.
        after: The word after its last one.
        next_s: When that word begins; `None` at the end.
    """
    loud = _loud_steps(kept.pcm, kept.rate_hz)
    for word in words.words[first:after]:
        if word.start_s is None or word.end_s is None or not word.letters:
            continue
        is_long = word.end_s - word.start_s >= LEAST_WORD_S
        heard = loud[_step_at(word.start_s, kept) : _step_at(word.end_s, kept)]
        if is_long and heard and not any(heard):
            return False
    end_s = words.end_s(after - 1)
    if next_s is None or end_s is None or next_s - end_s < LEAST_GAP_S:
        return True
    return any(
        abs(begin_s - end_s) <= DRIFT_S and abs(until_s - next_s) <= DRIFT_S
        for begin_s, until_s in _pauses_of(loud, kept.from_s)
    )


def _step_at(at_s: float, kept: KeptSound) -> int:
    """Return the index of the step of the kept sound at a moment of the utterance."""
    return max(0, round((at_s - kept.from_s) / STEP_S))


def _loud_steps(pcm: bytes, rate_hz: int) -> list[bool]:
    """Return for each step of the sound whether it is audible."""
    samples, length = memoryview(pcm).cast("h"), round(rate_hz * STEP_S)
    steps = (samples[at : at + length] for at in range(0, len(samples) - length + 1, length))
    return [max(step) > AUDIBLE or min(step) < -AUDIBLE for step in steps]


def _pauses_of(loud: Sequence[bool], from_s: float) -> Iterator[tuple[float, float]]:
    """Yield when each pause of the sound begins and ends, in seconds of the utterance."""
    at_s = from_s
    for is_loud, steps in groupby(loud):
        end_s = at_s + STEP_S * len(list(steps))
        if not is_loud and end_s - at_s >= PAUSE_S:
            yield at_s, end_s
        at_s = end_s
