"""The caller's audio as sent to one recogniser, and whether the recogniser has become mute.

A feed begins at a moment of the caller's audio, and continues live from there. Results for an
earlier feed are late, and are dropped. `now` is monotonic, in seconds, on our own clock.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from calls.transcript import Heard
from fallbacks.attempt_events import Ask
from fallbacks.lag import Lag
from fallbacks.stt_times import FIRST_CONNECTION_S, RESULT_GAP_S
from processors.hearing.replay_rules import SoundRing

STEADY: Final = 3  # results at this pace, without words, before the next one is expected
JITTER_S: Final = 0.1  # audio that is less late makes no gap (chosen)
EARLY_S: Final = 0.2  # how early a recogniser may report the beginning of a first word (chosen)
STALE_S: Final = 0.05  # a result that ends so soon after a feed began belongs to an earlier feed


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
    """Ask a rung to finalise its transcript; it gets no more audio."""

    provider: str


@dataclass(frozen=True, slots=True)
class AskForWords:
    """Ask a rung to finalise its transcript so far; it continues to get audio."""

    provider: str


FeedAction: TypeAlias = Ask | Reconnect | FeedSound | MarkSpeech | FlushWords | AskForWords
"""The actions on a rung. `Ask` means: connect it at once, if it has a place for this call."""


class Opening:
    """Measures whether a recogniser's first connection takes too long, on the provider's clock.

    Attributes:
        under_way: Whether the connection is being opened.
    """

    def __init__(self, lag: Lag) -> None:
        self.under_way = False
        self._lag = lag
        self._begun_s = 0.0  # on the provider's clock
        self._overdue = False  # reported as too slow

    def note_started(self, now: float) -> None:
        """Record the start of the connection."""
        self.under_way, self._begun_s = True, self._lag.provider_s(now)

    def end(self) -> None:
        """Record that the connection is open, or has failed."""
        self.under_way = False

    def note_overdue(self, now: float) -> bool:
        """Return whether the connection takes too long; true only once."""
        if self._overdue or not self.under_way:
            return False
        self._overdue = self._lag.provider_s(now) - self._begun_s >= FIRST_CONNECTION_S
        return self._overdue


class Liveness:
    """Detects that a recogniser that sent results at a steady pace has become mute.

    Time is measured on the provider's clock, and only while there is audio: in a gap on the
    caller's line there is nothing to transcribe, and the burst after a gap takes time to process.
    """

    def __init__(self, lag: Lag) -> None:
        self._lag = lag
        self._lived_at = -math.inf  # its last result
        self._steady = 0  # consecutive results without words that came in time
        self._fed_until_s = 0.0  # when the audio sent so far would end if it were live
        self._starved_s = 0.0  # the sum of gaps since its last result

    @property
    def mute_at(self) -> float | None:
        """When it counts as mute without a result, on our own clock; `None` if none is expected.

        A gap makes it later, once the gap is detected.
        """
        mute_s = self._lived_at + self._starved_s + RESULT_GAP_S
        return self._lag.moment_of(mute_s) if self._steady >= STEADY else None

    def start_measuring(self, now: float) -> None:
        """Start to measure."""
        self._count_from(self._lag.provider_s(now))

    def wrote(self, now: float, *, words: bool) -> None:
        """Record a result, with words or without; silence is measured from now on.

        Only results without words in a row, each in time, show that the recogniser sends at a pace.
        """
        now_s = self._lag.provider_s(now)
        in_time = not words and now_s - self._lived_at <= RESULT_GAP_S
        self._steady = self._steady + 1 if in_time else 0
        self._count_from(now_s)

    def fed(self, length_s: float, now: float) -> None:
        """Record that audio of this length was sent."""
        self.see(now)
        self._fed_until_s += length_s

    def see(self, now: float) -> None:
        """Record that time has passed, perhaps without audio.

        Time without audio makes `mute_at` later.
        """
        gap_s = self._lag.provider_s(now) - self._fed_until_s
        if gap_s > JITTER_S:
            self._starved_s += gap_s
            self._fed_until_s += gap_s

    def lose(self) -> None:
        """Expect no result, because the connection is lost."""
        self._steady = 0

    def _count_from(self, now_s: float) -> None:
        """Restart the measurement of results and audio, from this time on the provider's clock."""
        self._lived_at = self._fed_until_s = now_s
        self._starved_s = 0.0


class Feed:
    """The feed of one recogniser.

    Attributes:
        provider: The rung's name.
        attempt: The current attempt, if any.
        waits: Whether that attempt still waits for the connection.
        connected: Whether the recogniser can receive audio.
        open: Whether it gets the caller's audio.
        wrote: Whether it has produced words since its connection last had a problem.
        from_s: Where the feed began, in seconds of the caller's audio.
        replayed: Whether the feed began with earlier audio of an utterance, so that it lags.
        held_s: From where audio is held back, in seconds of the caller's audio; `None` if none is.
        opening: The state of its first connection.
    """

    def __init__(self, provider: str, *, reconnected_by_us: bool, lag: Lag | None = None) -> None:
        """Create a closed feed.

        Args:
            provider: The rung's name.
            reconnected_by_us: Whether we reconnect it ourselves.
            lag: Our own stalls; `None` if there are none.
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
        self._sent_s = 0.0  # seconds of audio sent on this connection
        self._began_s = 0.0  # where the feed began, in seconds of that audio

    @property
    def mute_at(self) -> float | None:
        """When it counts as mute without a result, on our own clock; `None` if none is expected."""
        return self._liveness.mute_at if self.open else None

    def found_mute(self, now: float) -> bool:
        """Return whether it is mute: it got enough audio, but sent no result."""
        self._liveness.see(now)
        return self.mute_at is not None and now >= self.mute_at

    def note_result(self, now: float, *, words: bool) -> None:
        """Record a result, with words or without."""
        self.wrote |= words
        self._liveness.wrote(now, words=words)

    def lose(self) -> None:
        """Close the feed after a failure; if we reconnect it ourselves, it is not connected."""
        self.open, self.wrote, self._sent_s = False, False, 0.0
        self._liveness.lose()
        self.connected = self.connected and not self._reconnected_by_us

    def renew(self) -> None:
        """Prepare for a new connection: close the feed, if we reconnect it ourselves."""
        self.wrote = False
        if self._reconnected_by_us:
            self.lose()

    def start_feed(
        self, ring: SoundRing, from_s: float, now: float, *, replayed: bool = False
    ) -> tuple[FeedAction, ...]:
        """Begin a feed at a moment of the caller's audio; `replayed` if speech is sent again."""
        self.from_s, self.open, self.replayed, self.held_s = from_s, True, replayed, None
        self._began_s = self._sent_s
        self._liveness.start_measuring(now)
        mark = MarkSpeech(provider=self.provider, speaking=True)
        return (*((mark,) if replayed else ()), *self.send(ring, ring.since(from_s), now))

    def send(self, ring: SoundRing, sound: tuple[bytes, ...], now: float) -> tuple[FeedAction, ...]:
        """Send audio, unless the feed is closed or audio is held back."""
        if not self.open or self.held_s is not None or not sound:
            return ()
        length_s = ring.seconds(sum(map(len, sound)))
        self._sent_s += length_s
        self._liveness.fed(length_s, now)
        return (FeedSound(provider=self.provider, sound=sound),)

    def mark(self, ring: SoundRing, now: float, *, speaking: bool) -> tuple[FeedAction, ...]:
        """Tell the recogniser that the caller speaks, or has stopped.

        While the caller is silent, a recogniser that lags gets no more audio. If the caller
        resumes, it first gets the audio that was held back.
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
        """End the feed, and forget its attempt.

        The transcript is finalised, so that the next feed has none of its words.
        """
        was_open, self.open = self.open, False
        self.attempt, self.waits = None, False
        return (FlushWords(self.provider),) if was_open else ()

    def transcribed(self) -> None:
        """Forget the attempt, whose words have come; end the feed if audio was held back."""
        self.attempt = None
        self.open, self.held_s = self.open and self.held_s is None, None

    def in_caller_seconds(self, heard: Heard) -> Heard | None:
        """Return a result with times of the caller's audio; `None` if it is from an earlier feed.

        If an earlier feed was not finalised, a result may begin there. Only the words of this feed
        are kept. Word times are not exact: a result whose first word is just a little early is all
        of this feed.
        """
        if heard.end_s is not None and heard.end_s <= self._began_s + STALE_S:
            return None
        first_s = heard.words[0].start_s if heard.words else self._began_s
        begins_here = first_s >= self._began_s - EARLY_S
        ahead_s = self.from_s - self._began_s
        words = tuple(
            replace(word, start_s=word.start_s + ahead_s, end_s=word.end_s + ahead_s)
            for word in heard.words
            if begins_here or (word.start_s + word.end_s) / 2 >= self._began_s
        )
        complete = len(words) == len(heard.words)
        text = heard.text if complete else " ".join(word.text for word in words)
        end_s = None if heard.end_s is None else heard.end_s + ahead_s
        return replace(heard, text=text, words=words, end_s=end_s)
