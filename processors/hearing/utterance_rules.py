"""One utterance of the caller: which recogniser is asked, and when the transcript is complete.

An utterance lasts from the VAD's start to the transcript of the last word. If the caller resumes
before that, the utterance continues. A result without words shows that the recogniser is alive, so
noise that triggers the VAD does not make it late. The transcript is complete when a final result
reaches the end of the caller's speech. The response to Finalize, which Deepgram does not guarantee,
is not needed.
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
    Paused,
    Progressed,
    Resumed,
    SignOfLife,
)
from fallbacks.attempts import Attempting
from fallbacks.deadline import Deadline
from fallbacks.stt_times import WORD_GAP_S
from processors.hearing.feed_rules import Feed, FeedAction
from processors.hearing.replay_rules import SoundRing, replay_from_s

SLACK_S: Final = 0.1  # tolerance for the VAD's end of speech, and for results in whole frames


class CallerUtterance:
    """Reports recognisers' events to `Attempting`; the owner carries out the actions.

    Times that end in `_s` are in seconds of the caller's audio.

    Attributes:
        attempting: The request on the ladder.
        began_s: The start of the speech.
        not_before_s: Audio before this was transcribed with the last utterance.
        transcribed_s: Audio before this need not be transcribed again.
        spoken_until_s: The end of the speech; infinite until the caller stops.
    """

    def __init__(
        self,
        begin: Callable[[], Attempting],
        *,
        began_s: float,
        not_before_s: float,
        turn: Turn,
    ) -> None:
        """Create an utterance; `start` asks the first rung.

        Args:
            begin: Makes a new request on the ladder.
            began_s: See the attribute.
            not_before_s: See the attribute.
            turn: Gives the deadlines for words.
        """
        self.attempting = begin()
        self._lag = self.attempting.policy.lag
        self.began_s = began_s
        self.not_before_s = not_before_s
        self.transcribed_s = 0.0
        self._begin = begin
        self._turn = turn
        # The earliest deadline for words after the caller's stop, because the turn is told of the
        # stop a little later. On the provider's clock: our own stalls must not cost words.
        self._held_until: Deadline | None = None
        self.spoken_until_s = math.inf
        self._reached_s: dict[int, float] = {}  # by attempt: the end of its last final result
        # By attempt: when its last result came, on the provider's clock.
        self._lived_at: dict[int, float] = {}
        self._quiet: set[int] = set()  # attempts whose rung sends nothing while the caller speaks

    @property
    def speaking(self) -> bool:
        """Whether the caller is still speaking."""
        return math.isinf(self.spoken_until_s)

    def go_on(self, now: float) -> None:
        """Record that the caller resumes before all words have arrived.

        The silence of rungs that send nothing during speech does not count until the caller stops.
        """
        self.spoken_until_s = math.inf
        for attempt in self._quiet:
            self.attempting.handle(Paused(attempt=attempt), now)

    def until(self, now: float) -> Deadline:
        """Return when even late words are given up; during speech there is no hurry."""
        if self.speaking or self._held_until is None:
            return self._turn.unhurried_until(now)
        held_until = self._lag.moment_of(self._held_until.at)
        return self._turn.patient_until(now).no_sooner_than(held_until)

    def awaits_words(self, now: float) -> bool:
        """Return whether the caller has stopped, and words are pending and not yet given up."""
        self._lag.count_stall(now)
        return not self.speaking and not self.attempting.over and not self.until(now).passed(now)

    @property
    def is_transcribed(self) -> bool:
        """Whether the caller has stopped, and results of one rung reach to the end of it."""
        return not self.speaking and self.attempting.over and self.attempting.winner is not None

    def listens(self, now: float) -> bool:
        """Return whether a recogniser has sent a result lately, even one without words.

        That is within `WORD_GAP_S`; our own stalls do not count.
        """
        lived_at = max(self._lived_at.values(), default=-math.inf)
        return self._lag.provider_s(now) - lived_at <= WORD_GAP_S

    def untranscribed(self, now: float) -> bool:
        """Return whether no rung could transcribe it, but there is still time."""
        exhausted = self.attempting.over and self.attempting.winner is None
        return exhausted and (self.speaking or not self.until(now).passed(now))

    def start(self, now: float) -> tuple[AttemptAction, ...]:
        """Ask the first rung."""
        return self.attempting.start(self.until(now), now)

    def start_again(self, now: float) -> tuple[AttemptAction, ...]:
        """Start a new request: a rung is available again after none was."""
        self.attempting = self._begin()
        self._reached_s, self._lived_at, self._quiet = {}, {}, set()
        return self.start(now)

    def stop(self, at_s: float, vad_delay_s: float, now: float) -> tuple[AttemptAction, ...]:
        """Record that the caller stopped; return the actions, which may complete the utterance.

        Args:
            at_s: When the VAD reported it, in seconds of the caller's audio.
            vad_delay_s: How long the caller had been silent by then.
            now: The time of the report, monotonic, in seconds.
        """
        now_s = self._lag.provider_s(now)
        self._held_until = self._turn.unhurried_until(now_s)
        self.spoken_until_s = at_s - max(vad_delay_s, SLACK_S)
        self.attempting.until = self.until(now)
        for attempt in self._quiet:
            self.attempting.handle(Resumed(attempt=attempt), now)
        winner = self.attempting.winner
        if winner is not None and self._reached_s.get(winner, 0.0) >= self.spoken_until_s:
            return self.attempting.handle(Finished(attempt=winner), now)
        gap_s = self.attempting.policy.pace.gap_s
        return tuple(
            action
            for attempt, lived_at in self._lived_at.items()
            if now_s - lived_at < gap_s  # its silence counts from now: the rest was just requested
            for action in self.attempting.handle(SignOfLife(attempt=attempt), now)
        )

    def read_result(self, attempt: int, heard: Heard, now: float) -> tuple[AttemptAction, ...]:
        """Record an attempt's result, and return the actions.

        The result may complete the utterance. Its times are seconds of the caller's audio.
        """
        self.attempting.until = self.until(now)
        self._lived_at[attempt] = self._lag.provider_s(now)
        event = Progressed(attempt=attempt) if heard.text else SignOfLife(attempt=attempt)
        actions = self.attempting.handle(event, now)
        reached_s = self._reached_s.get(attempt, 0.0)
        if heard.final and heard.end_s is not None:
            self._reached_s[attempt] = reached_s = max(reached_s, heard.end_s)
        complete = reached_s >= self.spoken_until_s or (heard.flushed and heard.end_s is None)
        if self.speaking or not complete:
            return actions
        return (*actions, *self.attempting.handle(Finished(attempt=attempt), now))

    def handle(self, event: Failed | Dropped, now: float) -> tuple[AttemptAction, ...]:
        """Decide on another event of an attempt."""
        self.attempting.until = self.until(now)
        return self.attempting.handle(event, now)

    def tick(self, now: float) -> tuple[AttemptAction, ...]:
        """Return the actions that are due by now."""
        self.attempting.until = self.until(now)
        return self.attempting.tick(now)

    def ask(self, feed: Feed, ask: Ask, sound: SoundRing, now: float) -> tuple[FeedAction, ...]:
        """Return the actions that ask a recogniser for the utterance, if possible at once.

        If they contain `Ask`, connect the rung, and then call `feed`. Also notes the attempt in
        `feed`, and whether it waits for a connection.
        """
        again = feed.attempt is not None  # it is late, and asked a second time
        feed.attempt = ask.attempt
        if ask.provider in self.attempting.policy.quiet:
            self._quiet.add(ask.attempt)
            if self.speaking:
                self.attempting.handle(Paused(attempt=ask.attempt), now)
        if feed.connected and not again:
            return self.feed(feed, sound, now)
        feed.waits = True
        if again:
            feed.renew()
        return (ask,)

    def feed(self, feed: Feed, sound: SoundRing, now: float) -> tuple[FeedAction, ...]:
        """Return the actions that feed a recogniser from the first word without a transcript.

        If it has that audio already, only the mark of speech is sent.
        """
        feed.waits = False
        from_s = max(replay_from_s(self.began_s, sound.start_s), self.not_before_s)
        if feed.open and feed.from_s <= from_s:
            feed.replayed = False
            return feed.mark(sound, now, speaking=True)
        onset_s = sound.onset_s(max(from_s, self.transcribed_s), self.began_s)
        replayed = feed.start_feed(sound, onset_s, now, replayed=True)
        stopped = () if self.speaking else feed.mark(sound, now, speaking=False)
        return (*replayed, *stopped)
