"""One caller utterance: its recogniser, and when its transcript is complete.

An utterance lasts from the VAD's start to the last word's transcript: if the caller goes on before
that, it continues. Results without words are signs of life and reset the watch: noise that triggers
the VAD does not make a recogniser mute. The transcript is complete when a final result reaches as
far as the caller spoke. The answer to Finalize, which Deepgram does not promise, is not needed.
"""

import math
from collections.abc import Callable
from typing import Final

from calls.transcript import Heard
from calls.turn import Turn
from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    Dropped,
    Failed,
    Finished,
    Progressed,
    SignOfLife,
)
from fallbacks.attempts import Attempting
from fallbacks.deadline import Deadline
from processors.hearing.feed_rules import Feed, FeedAction
from processors.hearing.replay_rules import SoundRing, replay_from_s

LIVES_S: Final = 2.0  # between two results during speech: Deepgram sends one a second
SLACK_S: Final = 0.1  # for the VAD's idea of speech, and for results in whole frames


class CallerUtterance:
    """Reports recognisers' events to `Attempting`; the owner carries out the actions.

    Attributes:
        attempting: The request on the ladder.
        began_s: The start of the speech, in seconds of the caller's audio.
        not_before_s: Earlier audio was transcribed with the last utterance.
        written_s: Earlier audio need not be heard again.
        spoken_until_s: The end of its speech, in seconds of the caller's audio; infinite until the
            caller stops.
    """

    def __init__(
        self,
        begin: Callable[[], Attempting],
        *,
        began_s: float,
        not_before_s: float,
        turn: Turn,
    ) -> None:
        """Prepare.

        Args:
            begin: Makes a new request.
            began_s: See the attribute.
            not_before_s: See the attribute.
            turn: Gives the deadlines for words.
        """
        self.attempting = begin()
        self._lag = self.attempting.policy.lag
        self.began_s = began_s
        self.not_before_s = not_before_s
        self.written_s = 0.0
        self._begin = begin
        self._turn = turn
        # The turn learns of a stop a little late. On the provider's clock: words that we read late
        # because we stalled still belong to the caller.
        self._held_until: Deadline | None = None
        self.spoken_until_s = math.inf
        self._reached_s: dict[int, float] = {}  # how far the final results of each attempt go
        self._lived_at: dict[int, float] = {}  # the last sign of life of each attempt

    @property
    def speaking(self) -> bool:
        """Whether its speech goes on."""
        return math.isinf(self.spoken_until_s)

    def go_on(self) -> None:
        """Record that the caller goes on before all words have come."""
        self.spoken_until_s = math.inf

    def until(self, now: float) -> Deadline:
        """Return when even late words are given up; during speech no one waits for them."""
        if self.speaking or self._held_until is None:
            return self._turn.unhurried_until(now)
        held_until = self._lag.moment_of(self._held_until.at)
        return self._turn.patient_until(now).no_sooner_than(held_until)

    def owed(self, now: float) -> bool:
        """Return whether the caller has stopped, and words of this utterance are pending."""
        self._lag.see(now)
        return not self.speaking and not self.attempting.over and not self.until(now).passed(now)

    def listens(self, now: float) -> bool:
        """Return whether a recogniser has sent a result lately, with words or without."""
        lived_at = max(self._lived_at.values(), default=-math.inf)
        return self._lag.provider_s(now) - lived_at <= LIVES_S

    def unwritten(self, now: float) -> bool:
        """Return whether no rung could transcribe it, and there is still time."""
        exhausted = self.attempting.over and self.attempting.winner is None
        return exhausted and (self.speaking or not self.until(now).passed(now))

    def start(self, now: float) -> tuple[AttemptAction, ...]:
        """Ask the first rung."""
        return self.attempting.start(self.until(now), now)

    def start_again(self, now: float) -> tuple[AttemptAction, ...]:
        """Ask again, when a rung is available again after none was."""
        self.attempting = self._begin()
        self._reached_s, self._lived_at = {}, {}
        return self.start(now)

    def stop(self, at_s: float, sure_s: float, now: float) -> tuple[AttemptAction, ...]:
        """Record that the caller stopped.

        Args:
            at_s: When the VAD reported it, in seconds of the caller's audio.
            sure_s: The VAD's delay.
            now: The same moment, on the clock.
        """
        now_s = self._lag.provider_s(now)
        self._held_until = self._turn.unhurried_until(now_s)
        self.spoken_until_s = at_s - max(sure_s, SLACK_S)
        self.attempting.until = self.until(now)
        winner = self.attempting.winner
        if winner is not None and self._reached_s.get(winner, 0.0) >= self.spoken_until_s:
            return self.attempting.handle(Finished(attempt=winner), now)
        gap_s = self.attempting.policy.pace.gap_s
        return tuple(
            action
            for attempt, lived_at in self._lived_at.items()
            if now_s - lived_at < gap_s  # not late: the rest was requested just now
            for action in self.attempting.handle(SignOfLife(attempt=attempt), now)
        )

    def read_result(self, attempt: int, heard: Heard, now: float) -> tuple[AttemptAction, ...]:
        """Decide on a result, in seconds of the caller's audio."""
        self.attempting.until = self.until(now)
        self._lived_at[attempt] = self._lag.provider_s(now)
        sign = Progressed(attempt=attempt) if heard.text else SignOfLife(attempt=attempt)
        useful = self.attempting.handle(sign, now)
        reached_s = self._reached_s.get(attempt, 0.0)
        if heard.final and heard.end_s is not None:
            self._reached_s[attempt] = reached_s = max(reached_s, heard.end_s)
        written = reached_s >= self.spoken_until_s or (heard.flushed and heard.end_s is None)
        if self.speaking or not written:
            return useful
        return (*useful, *self.attempting.handle(Finished(attempt=attempt), now))

    def handle(self, event: Failed | Dropped, now: float) -> tuple[AttemptAction, ...]:
        """Decide on another event of an attempt."""
        self.attempting.until = self.until(now)
        return self.attempting.handle(event, now)

    def tick(self, now: float) -> tuple[AttemptAction, ...]:
        """Do what is due by now."""
        self.attempting.until = self.until(now)
        return self.attempting.tick(now)

    def ask(self, feed: Feed, ask: Ask, sound: SoundRing, now: float) -> tuple[FeedAction, ...]:
        """Ask a recogniser to transcribe it: at once, or when it is connected."""
        again = feed.attempt is not None  # asked again while it is late
        feed.attempt = ask.attempt
        if feed.connected and not again:
            return self.feed(feed, sound, now)
        feed.waits = True
        if again:
            feed.renew()
        return (ask,)

    def feed(self, feed: Feed, sound: SoundRing, now: float) -> tuple[FeedAction, ...]:
        """Feed a recogniser from the first word without a transcript, unless it has that."""
        feed.waits = False
        from_s = max(replay_from_s(self.began_s, sound.start_s), self.not_before_s)
        if feed.open and feed.from_s <= from_s:
            feed.replayed = False
            return feed.mark(sound, now, speaking=True)
        onset_s = sound.onset_s(max(from_s, self.written_s), self.began_s)
        replayed = feed.begin(sound, onset_s, now, replayed=True)
        stopped = () if self.speaking else feed.mark(sound, now, speaking=False)
        return (*replayed, *stopped)
