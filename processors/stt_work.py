"""One utterance of the caller: which recogniser writes it down, and when all of it is written.

An utterance lasts from the VAD's start to the last word's transcript: a caller who goes on speaking
before that is still in it. Results without words are signs of life, and reset the watch: noise that
trips the VAD is no mute recogniser. It is written when a final result reaches as far as the caller
spoke; the answer to Finalize, which Deepgram does not promise, is not needed for that.
"""

import math
from collections.abc import Callable
from typing import Final

from fallbacks.attempts import Failed, Finished, Idled, Owed, Progressed, Refused, Step
from fallbacks.deadline import Deadline
from fallbacks.failure import Failure
from fallbacks.replay import replay_from_s
from fallbacks.work import Work
from processors.stt_reading import Reading

SLACK_S: Final = 0.1  # of what the VAD calls speech, and of results that come in whole frames


class Utterance:
    """Feeds `Work` with what recognisers do; the stage does its steps.

    Attributes:
        work: Who is asked.
        began_s: Where the speech began, in seconds of the caller's sound.
        not_before_s: What came before was written down with the last utterance.
        speaking: Whether the caller still is.
    """

    def __init__(
        self,
        work: Work,
        *,
        began_s: float,
        not_before_s: float,
        clock: Callable[[], float],
        until: Callable[[], Deadline],
        gap_s: float,
    ) -> None:
        """Take a fresh piece of work.

        Args:
            work: Not started yet.
            began_s: See the attribute.
            not_before_s: See the attribute.
            clock: Monotonic, in seconds.
            until: When even late words are given up.
            gap_s: How long a recogniser may be silent.
        """
        self.work = work
        self.began_s = began_s
        self.not_before_s = not_before_s
        self.speaking = True
        self._clock = clock
        self._until = until
        self._gap_s = gap_s
        self._spoken_until_s = math.inf
        self._reached_s: dict[int, float] = {}  # how far the finals of each attempt go
        self._lived_at: dict[int, float] = {}  # when each attempt last gave anything

    @property
    def owed(self) -> bool:
        """Whether the caller has stopped, and words of this utterance are still to come."""
        return not self.speaking and not self.work.over and not self._until().passed(self._clock())

    @property
    def exhausted(self) -> bool:
        """Whether nobody was left who could write it down."""
        return self.work.over and self.work.winner is None

    def replay_from_s(self, ring_start_s: float) -> float:
        """Return from where a recogniser must hear the caller's sound."""
        return max(replay_from_s(self.began_s, ring_start_s), self.not_before_s)

    def start(self) -> tuple[Step, ...]:
        """Ask the first rung."""
        return self.work.start(self._until(), self._clock())

    def again(self, work: Work) -> tuple[Step, ...]:
        """Ask once more, when nobody was left and somebody is again."""
        self.work = work
        self._reached_s, self._lived_at = {}, {}
        return self.start()

    def resumed(self) -> None:
        """Note that the caller goes on."""
        self.speaking, self._spoken_until_s = True, math.inf

    def stopped(self, at_s: float, *, stop_s: float) -> tuple[Step, ...]:
        """Note that the caller stopped.

        Args:
            at_s: When the VAD was sure, in seconds of the caller's sound.
            stop_s: How long it waited to be.
        """
        self.speaking = False
        self._spoken_until_s = at_s - max(stop_s, SLACK_S)
        self.work.move(self._until())
        winner = self.work.winner
        if winner is not None and self._written(winner):
            return self.work.handle(Finished(attempt=winner), self._clock())
        steps: list[Step] = []
        for attempt, at in self._lived_at.items():
            if self._clock() - at < self._gap_s:  # it is not late; the rest was asked for just now
                steps += self._lives(attempt)
        return tuple(steps)

    def heard(self, attempt: int, reading: Reading) -> tuple[Step, ...]:
        """Take in a result, in seconds of the caller's sound."""
        now = self._clock()
        self.work.move(self._until())
        self._lived_at[attempt] = now
        progressed = Progressed(attempt=attempt)
        useful = self.work.handle(progressed, now) if reading.text else self._lives(attempt)
        if reading.final and reading.end_s is not None:
            self._reached_s[attempt] = max(self._reached_s.get(attempt, 0.0), reading.end_s)
        all_there = self._written(attempt) or (reading.flushed and reading.end_s is None)
        done = all_there and not self.speaking
        finished = Finished(attempt=attempt)
        return (*useful, *(self.work.handle(finished, now) if done else ()))

    def failed(self, attempt: int, failure: Failure) -> tuple[Step, ...]:
        """Take in a failure for certain."""
        self.work.move(self._until())
        return self.work.handle(Failed(attempt=attempt, failure=failure), self._clock())

    def refused(self, attempt: int) -> tuple[Step, ...]:
        """Take in that there was no place for an attempt."""
        return self.work.handle(Refused(attempt=attempt), self._clock())

    def tick(self, at: float) -> tuple[Step, ...]:
        """Do what is due by the passing of time."""
        self.work.move(self._until())
        return self.work.tick(at)

    def _written(self, attempt: int) -> bool:
        return self._reached_s.get(attempt, 0.0) >= self._spoken_until_s

    def _lives(self, attempt: int) -> tuple[Step, ...]:
        """Reset the watch on an attempt without calling it useful."""
        now = self._clock()
        idled, owed = Idled(attempt=attempt), Owed(attempt=attempt)
        return (*self.work.handle(idled, now), *self.work.handle(owed, now))
