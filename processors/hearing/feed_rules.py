"""The caller's audio as given to one recogniser, and whether the recogniser has gone mute.

A feed begins at a moment of the caller's audio and continues live from there. Results for an
earlier feed are late, and dropped.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from calls.transcript import Heard
from fallbacks.attempt_events import Ask
from fallbacks.lag import Lag
from processors.hearing.replay_rules import SoundRing

BEAT_S: Final = 1.3  # Deepgram sends a result for every second of audio, even a silent one
STEADY: Final = 3  # results in a row, in the current silence, before the next one is expected
OPENING_S: Final = 1.5  # a handshake across an ocean takes a third of it (chosen)
JITTER_S: Final = 0.1  # audio that is late by less makes no gap (chosen)
STALE_S: Final = 0.05  # a result that ends this soon after a feed began belongs to the earlier one


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Reconnect a rung in the background, unless its service does so itself."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSound:
    """Send a rung some of the caller's audio."""

    provider: str
    sound: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkSpeech:
    """Tell a rung that the caller speaks, or has stopped, at this point of its audio."""

    provider: str
    speaking: bool


@dataclass(frozen=True, slots=True)
class FlushWords:
    """Ask a rung to finalise what it has heard; it gets no more audio."""

    provider: str


@dataclass(frozen=True, slots=True)
class AskForWords:
    """Ask a rung to finalise what it has heard, and keep feeding it."""

    provider: str


FeedAction: TypeAlias = Ask | Reconnect | FeedSound | MarkSpeech | FlushWords | AskForWords
"""The actions on a rung. `Ask`: connect at once, if it has a place for us."""


class Opening:
    """Whether a recogniser's first connection takes too long, in the provider's time.

    Attributes:
        under_way: The connection is neither made nor failed.
    """

    def __init__(self, lag: Lag) -> None:
        self.under_way = False
        self._lag = lag
        self._begun_s = 0.0  # on the provider's clock
        self._overdue = False  # already reported as too slow

    def begin(self, now: float) -> None:
        """Record the start of the connection."""
        self.under_way, self._begun_s = True, self._lag.provider_s(now)

    def end(self) -> None:
        """Record that it is made, or failed."""
        self.under_way = False

    def note_overdue(self, now: float) -> bool:
        """Return once whether it is overdue."""
        if self._overdue or not self.under_way:
            return False
        self._overdue = self._lag.provider_s(now) - self._begun_s >= OPENING_S
        return self._overdue


class Liveness:
    """Whether a recogniser that sent a result at every beat has gone mute.

    It counts the provider's time, and only the part with audio: during a gap on the caller's line
    there is nothing to transcribe, and the burst after a gap takes its time.
    """

    def __init__(self, lag: Lag) -> None:
        self._lag = lag
        self._lived_at = -math.inf
        self._steady = 0  # consecutive results without words that came in time
        self._fed_until_s = 0.0  # the end of the audio given, in real time
        self._starved_s = 0.0  # gaps since its last result

    @property
    def mute_at(self) -> float | None:
        """When it counts as mute if no result comes; `None` if none is expected.

        On our own clock. A gap moves it, as soon as it is detected.
        """
        mute_s = self._lived_at + self._starved_s + BEAT_S
        return self._lag.moment_of(mute_s) if self._steady >= STEADY else None

    def begin(self, now: float) -> None:
        """Count from now on."""
        self._count_from(self._lag.provider_s(now))

    def wrote(self, now: float, *, words: bool) -> None:
        """Record a result, even when there is no speech."""
        now_s = self._lag.provider_s(now)
        in_time = not words and now_s - self._lived_at <= BEAT_S
        self._steady = self._steady + 1 if in_time else 0
        self._count_from(now_s)

    def fed(self, length_s: float, now: float) -> None:
        """Record that it was given audio of this length."""
        self.see(now)
        self._fed_until_s += length_s

    def see(self, now: float) -> None:
        """Record that time has passed, perhaps without audio."""
        gap_s = self._lag.provider_s(now) - self._fed_until_s
        if gap_s > JITTER_S:
            self._starved_s += gap_s
            self._fed_until_s += gap_s

    def lose(self) -> None:
        """Expect nothing: the connection is gone."""
        self._steady = 0

    def _count_from(self, now_s: float) -> None:
        self._lived_at = self._fed_until_s = now_s
        self._starved_s = 0.0


class Feed:
    """The feed of one recogniser. Times are seconds of the provider's clock (`fallbacks/lag.py`).

    Attributes:
        provider: The rung's name.
        attempt: The current attempt, if any.
        waits: Whether that attempt still waits for the connection.
        connected: Whether it can receive audio.
        open: Whether it gets the caller's audio.
        wrote: Whether it has produced words since the connection last had a problem.
        from_s: The caller's second at which the feed began.
        replayed: Whether it was given the utterance from its start, after others had heard it.
        held_s: The caller's second from which it gets no audio because it lags; `None` if none is
            held back.
        opening: Its first connection, while that is made.
    """

    def __init__(self, provider: str, *, reconnected_by_us: bool, lag: Lag | None = None) -> None:
        """Prepare.

        Args:
            provider: The rung's name.
            reconnected_by_us: Whether we reconnect it ourselves.
            lag: Our own stalls, which make no rung mute; `None` if there are none.
        """
        self.provider = provider
        self.attempt: int | None = None
        self.waits = False
        self.connected = False
        self.open = self.wrote = False
        self.from_s = 0.0
        self.replayed = False
        self.held_s: float | None = None
        self._reconnected_by_us = reconnected_by_us
        self.opening = Opening(lag or Lag())
        self._liveness = Liveness(lag or Lag())
        self._sent_s = 0.0  # on this connection
        self._began_s = 0.0  # the recogniser's second at which the feed began

    @property
    def mute_at(self) -> float | None:
        """When it counts as mute if no result comes; `None` if that cannot be said by the clock.

        On our own clock.
        """
        return self._liveness.mute_at if self.open else None

    def found_mute(self, now: float) -> bool:
        """Return whether it has sent no result for enough audio."""
        self._liveness.see(now)
        return self.mute_at is not None and now >= self.mute_at

    def note_result(self, now: float, *, words: bool) -> None:
        """Record a result, even when there is no speech."""
        self.wrote |= words
        self._liveness.wrote(now, words=words)

    def lose(self) -> None:
        """Reset the count of sent audio: the connection is gone, if we reconnect it ourselves."""
        self.open, self.wrote, self._sent_s = False, False, 0.0
        self._liveness.lose()
        self.connected = self.connected and not self._reconnected_by_us

    def renew(self) -> None:
        """Reset the count of sent audio if we reconnect it ourselves."""
        self.wrote = False
        if self._reconnected_by_us:
            self.lose()

    def begin(
        self, ring: SoundRing, from_s: float, now: float, *, replayed: bool = False
    ) -> tuple[FeedAction, ...]:
        """Begin to feed it the caller's audio from a moment on, or an utterance again."""
        self.from_s, self.open, self.replayed, self.held_s = from_s, True, replayed, None
        self._began_s = self._sent_s
        self._liveness.begin(now)
        mark = MarkSpeech(provider=self.provider, speaking=True)
        return (*((mark,) if replayed else ()), *self.send(ring, ring.since(from_s), now))

    def send(self, ring: SoundRing, sound: tuple[bytes, ...], now: float) -> tuple[FeedAction, ...]:
        """Feed it audio, unless it is closed or held back."""
        if not self.open or self.held_s is not None or not sound:
            return ()
        length_s = ring.seconds(sum(map(len, sound)))
        self._sent_s += length_s
        self._liveness.fed(length_s, now)
        return (FeedSound(provider=self.provider, sound=sound),)

    def mark(self, ring: SoundRing, now: float, *, speaking: bool) -> tuple[FeedAction, ...]:
        """Tell it that the caller speaks, or has stopped.

        While the caller is silent, a lagging rung gets no more audio. If the caller goes on, it
        hears them from there.
        """
        if not self.open:
            return ()
        caught_up: tuple[FeedAction, ...] = ()
        if not speaking:
            self.held_s = ring.end_s if self.replayed else self.held_s
        elif self.held_s is not None:
            held_s, self.held_s = self.held_s, None
            caught_up = self.send(ring, ring.since(held_s), now)
        return (*caught_up, MarkSpeech(provider=self.provider, speaking=speaking))

    def end(self) -> tuple[FeedAction, ...]:
        """End the feed; the rest is finalised now and not in the next one."""
        was_open, self.open = self.open, False
        self.attempt, self.waits = None, False
        return (FlushWords(self.provider),) if was_open else ()

    def written(self) -> None:
        """Record that the utterance is transcribed; what was held back is skipped."""
        self.attempt = None
        self.open, self.held_s = self.open and self.held_s is None, None

    def in_caller_seconds(self, heard: Heard) -> Heard | None:
        """Return a result in seconds of the caller's audio; `None` if it is from an earlier feed.

        A result that reaches back into an earlier feed, which was not finalised, keeps only the
        words of this one.
        """
        if heard.end_s is not None and heard.end_s <= self._began_s + STALE_S:
            return None
        ahead_s = self.from_s - self._began_s
        words = tuple(
            replace(word, start_s=word.start_s + ahead_s, end_s=word.end_s + ahead_s)
            for word in heard.words
            if (word.start_s + word.end_s) / 2 >= self._began_s
        )
        whole = len(words) == len(heard.words)
        text = heard.text if whole else " ".join(word.text for word in words)
        end_s = None if heard.end_s is None else heard.end_s + ahead_s
        return replace(heard, text=text, words=words, end_s=end_s)
