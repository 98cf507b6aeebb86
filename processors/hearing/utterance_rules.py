"""One utterance of the caller: which recogniser writes it down, and when all of it is written.

An utterance lasts from the VAD's start to the last word's transcript: a caller who goes on speaking
before that is still in it. Results without words are signs of life, and reset the watch: noise that
trips the VAD is no mute recogniser. It is written when a final result reaches as far as the caller
spoke; the answer to Finalize, which Deepgram does not promise, is not needed for that.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, Protocol

from fallbacks.attempts import Failed, Finished, Idled, Owed, Progressed, Refused, Step
from fallbacks.deadline import Deadline
from fallbacks.work import Work
from processors.hearing.attempt_rules import AskRecogniser, HearingAction, Reading
from processors.hearing.feed_rules import Feed
from processors.hearing.replay_rules import SoundRing, replay_from_s


class TurnLanguage:
    """Follows a caller from turn to turn.

    A recogniser names the language of each of its results, and a turn may have several: one short
    word that could be of any language must not outweigh the sentence before it.

    Attributes:
        current: The language that is spoken with the caller.
    """

    def __init__(self, first: str) -> None:
        self.current = first
        self._words = Counter[str]()  # of this turn, by language

    def heard(self, text: str, language: str | None) -> bool:
        """Count a result; return whether the turn's language is another now."""
        if not language:
            return False
        self._words[language] += len(text.split())
        before, most = self.current, max(self._words.values())
        if self._words[before] < most:
            self.current = next(each for each, n in self._words.items() if n == most)
        return self.current != before

    def turn_over(self) -> None:
        """Begin to count anew: what follows is another turn's."""
        self._words.clear()


# What becomes of a turn of the caller's of which no word was written down.
#
# A laugh, a door, a neighbour's voice: the detector of speech hears somebody, and whatever the
# agent was doing is cut off, but there is nothing to answer. What the caller asked before is still
# asked.


class AfterSound(StrEnum):
    """What to do when such a turn is over."""

    ANSWER = "answer"  # what was asked before it, and has had no word of an answer
    ASK_AGAIN = "ask_again"  # have the caller say it once more
    NOTHING = "nothing"


def after_sound(*, led: bool, unanswered: bool, cut: bool, owed: bool, asked: bool) -> AfterSound:
    """Return what to do.

    Args:
        led: Somebody else speaks to the caller: a menu, or a person.
        unanswered: The conversation ends with something that the model has not answered.
        cut: The sound cut off what the agent was saying.
        owed: The line is held for it: a recogniser failed, so there may have been words.
        asked: The caller was asked to say it again, and no word has come since.
    """
    if led:
        return AfterSound.NOTHING
    if unanswered:
        return AfterSound.ANSWER
    if (cut or owed) and not asked:
        return AfterSound.ASK_AGAIN
    return AfterSound.NOTHING


SLACK_S: Final = 0.1  # of what the VAD calls speech, and of results that come in whole frames


class TurnDeadlines(Protocol):
    """The turn in progress, as far as it says how long words may take.

    Attributes:
        attempts: Gives the call's attempt numbers.
    """

    attempts: Iterator[int]

    def patient_until(self, now: float) -> Deadline:
        """Return when even late words are given up."""
        ...

    def unhurried_until(self, now: float) -> Deadline:
        """Return a deadline for work that nobody waits for yet."""
        ...


class CallerUtterance:
    """Lets `Work` know what recognisers do; the steps are its owner's to carry out.

    Attributes:
        work: Who is asked.
        began_s: Where the speech began, in seconds of the caller's sound.
        not_before_s: What came before was written down with the last utterance.
        speaking: Whether the caller still is, or goes on.
        written_s: Nobody need hear again what came before.
        spoken_until_s: Where the speech ended, since the caller stopped last.
    """

    def __init__(
        self,
        begin_work: Callable[[], Work],
        *,
        began_s: float,
        not_before_s: float,
        turn: TurnDeadlines,
    ) -> None:
        """Prepare.

        Args:
            begin_work: Makes a fresh piece of work.
            began_s: See the attribute.
            not_before_s: See the attribute.
            turn: Says how long words may take.
        """
        self.work = begin_work()
        self._lag = self.work.policy.lag
        self.began_s = began_s
        self.not_before_s = not_before_s
        self.speaking = True
        self.written_s = 0.0
        self._begin_work = begin_work
        self._turn = turn
        # The turn learns of a stop a little late. On the provider's clock: words that were read too
        # late because we stalled are no less the caller's.
        self._held_until: Deadline | None = None
        self.spoken_until_s = math.inf
        self._reached_s: dict[int, float] = {}  # how far the finals of each attempt go
        self._lived_at: dict[int, float] = {}  # when each attempt last gave anything

    def until(self, now: float) -> Deadline:
        """Return when even late words are given up; while the caller speaks nobody waits."""
        if self.speaking or self._held_until is None:
            return self._turn.unhurried_until(now)
        held_until = self._lag.moment_of(self._held_until.at)
        return self._turn.patient_until(now).no_sooner_than(held_until)

    def owed(self, now: float) -> bool:
        """Say whether the caller has stopped, and words of this utterance are still to come."""
        self._lag.see(now)
        return not self.speaking and not self.work.over and not self.until(now).passed(now)

    def unwritten(self, now: float) -> bool:
        """Say whether nobody could write it down, and it is not too late for that."""
        exhausted = self.work.over and self.work.winner is None
        return exhausted and (self.speaking or not self.until(now).passed(now))

    def start(self, now: float) -> tuple[Step, ...]:
        """Ask the first rung."""
        return self.work.start(self.until(now), now)

    def start_again(self, now: float) -> tuple[Step, ...]:
        """Ask once more, when nobody was left and somebody is again."""
        self.work = self._begin_work()
        self._reached_s, self._lived_at = {}, {}
        return self.start(now)

    def stop(self, at_s: float, sure_s: float, now: float) -> tuple[Step, ...]:
        """Note that the caller stopped.

        Args:
            at_s: When the VAD was sure, in seconds of the caller's sound.
            sure_s: How long it waited to be.
            now: The same moment, on the clock.
        """
        now_s = self._lag.provider_s(now)
        self._held_until = self._turn.unhurried_until(now_s)
        self.speaking = False
        self.spoken_until_s = at_s - max(sure_s, SLACK_S)
        self.work.move(self.until(now))
        winner = self.work.winner
        if winner is not None and self._reached_s.get(winner, 0.0) >= self.spoken_until_s:
            return self.work.handle(Finished(attempt=winner), now)
        gap_s = self.work.policy.pace.gap_s
        steps: list[Step] = []
        for attempt, lived_at in self._lived_at.items():
            if now_s - lived_at < gap_s:  # it is not late; the rest was asked for just now
                steps += _reset_watch(self.work, attempt, now)
        return tuple(steps)

    def read_result(self, attempt: int, reading: Reading, now: float) -> tuple[Step, ...]:
        """Decide on a result, in seconds of the caller's sound."""
        self.work.move(self.until(now))
        self._lived_at[attempt] = self._lag.provider_s(now)
        if reading.text:
            useful = self.work.handle(Progressed(attempt=attempt), now)
        else:
            useful = _reset_watch(self.work, attempt, now)
        reached_s = self._reached_s.get(attempt, 0.0)
        if reading.final and reading.end_s is not None:
            self._reached_s[attempt] = reached_s = max(reached_s, reading.end_s)
        written = reached_s >= self.spoken_until_s or (reading.flushed and reading.end_s is None)
        if self.speaking or not written:
            return useful
        return (*useful, *self.work.handle(Finished(attempt=attempt), now))

    def handle(self, event: Failed | Refused, now: float) -> tuple[Step, ...]:
        """Decide on what else happened to an attempt."""
        self.work.move(self.until(now))
        return self.work.handle(event, now)

    def tick(self, now: float) -> tuple[Step, ...]:
        """Do what is due by the passing of time."""
        self.work.move(self.until(now))
        return self.work.tick(now)

    def ask(
        self, feed: Feed, attempt: int, sound: SoundRing, now: float
    ) -> tuple[HearingAction, ...]:
        """Ask a recogniser to write it down: at once, or as soon as it is connected."""
        anew = feed.attempt is not None  # it is asked again while it is late
        feed.attempt = attempt
        if feed.connected and not anew:
            return self.feed(feed, sound, now)
        feed.waits = True
        if anew:
            feed.renew()
        return (AskRecogniser(provider=feed.provider, attempt=attempt),)

    def feed(self, feed: Feed, sound: SoundRing, now: float) -> tuple[HearingAction, ...]:
        """Let a recogniser hear it from its first word that is not written; it may already."""
        feed.waits = False
        from_s = max(replay_from_s(self.began_s, sound.start_s), self.not_before_s)
        if feed.open and feed.from_s <= from_s:
            feed.replayed = False
            return feed.mark(sound, now, speaking=True)
        onset_s = sound.onset_s(max(from_s, self.written_s), self.began_s)
        replayed = feed.begin(sound, onset_s, now, replayed=True)
        stopped = () if self.speaking else feed.mark(sound, now, speaking=False)
        return (*replayed, *stopped)


def _reset_watch(work: Work, attempt: int, now: float) -> tuple[Step, ...]:
    """Have an attempt's silence count from now, without calling it useful."""
    idled = work.handle(Idled(attempt=attempt), now)
    return (*idled, *work.handle(Owed(attempt=attempt), now))
