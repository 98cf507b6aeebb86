"""The health of a rung as several processes share it, over a common board.

Each process watches its own rungs and publishes changes: breaker, suspicion, rest, whether an
operator took the rung out of rotation, and that callers are served, which outweighs failed probes.
What a process adopted from another is not published again. Times are on the board's clock, as well
as each process knows it; a process with newer knowledge keeps its own.

No process knows that clock to the millisecond, but the order of cause and effect is always right:
what a process learnt after it read or published a word is published as newer than that word. Of two
words the later one counts, whatever a process's own clock says.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fallbacks.breaker import State
from fallbacks.failure import Kind
from fallbacks.health import SERVED_S, Health

STALE_S: Final = 300.0  # a suspicion that no probe has cleared by then is ignored (chosen)


FOREVER_S: Final = 10 * 365 * 86_400.0  # a rung out of rotation stays out until it is put back
SERVED_EACH_S: Final = 10.0  # a third of SERVED_S (chosen)
LEAST_S: Final = 0.001  # between a word and what was learnt after reading it


class Aspect(StrEnum):
    """The subject of a word."""

    BREAKER = "breaker"
    SUSPICION = "suspicion"
    REST = "rest"
    ROTATION = "rotation"
    SERVED = "served"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardWord:
    """One process's report on a rung; the last word on an aspect counts."""

    place: str  # the rung; equal in all processes that ask the same server with the same key
    aspect: Aspect
    at_s: float  # the board's clock: since when it applies
    value: str = ""  # the breaker's state; "suspect" or ""; "out" or ""
    until_s: float = 0.0  # the board's clock: the end of a rest, or of a success's weight
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    breaker: tuple[State, float]
    suspect_since: float | None
    rests_until: float
    withdrawn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """One moment on two clocks."""

    at_s: float  # the board's
    at: float  # our own


class SharedRung:
    """One rung's health, as published to other processes and adopted from them."""

    def __init__(self, place: str, health: Health) -> None:
        self.place = place
        self.health = health
        self._seen = self._look()
        self._again = False
        self._served_until = -math.inf  # as last published or read
        self._heard: dict[Aspect, _Moment] = {}  # the last word adopted: its time, and when
        self._told: dict[Aspect, _Moment] = {}  # the last word published: its time

    def news(self, now: float, *, utc_s: float) -> tuple[BoardWord, ...]:
        """Return what this process has changed since the last look.

        Args:
            now: Monotonic, in seconds.
            utc_s: The board's clock at the same moment.
        """
        before, self._seen = self._seen, self._look()
        again, self._again = self._again, False
        offset_s = utc_s - now
        words: list[BoardWord] = []
        if again or self._seen.breaker != before.breaker:
            words.append(self._breaker(offset_s))
        since = self._seen.suspect_since
        if since != before.suspect_since or (again and since is not None):
            at_s = self._moment(Aspect.SUSPICION, now if since is None else since, offset_s)
            value = "" if since is None else "suspect"
            words.append(
                BoardWord(place=self.place, aspect=Aspect.SUSPICION, at_s=at_s, value=value)
            )
        until = self.health.rests_until
        if until != before.rests_until or (again and until > now):
            at_s = self._moment(Aspect.REST, now, offset_s)
            until_s = until + offset_s
            words.append(
                BoardWord(place=self.place, aspect=Aspect.REST, at_s=at_s, until_s=until_s)
            )
        if self._seen.withdrawn != before.withdrawn or (again and self._seen.withdrawn):
            words.append(self._rotation(offset_s))
        served_until = self.health.served_until
        if served_until > now and (again or served_until >= self._served_until + SERVED_EACH_S):
            self._served_until = served_until
            at_s = self._moment(Aspect.SERVED, now, offset_s)
            until_s = served_until + offset_s
            words.append(
                BoardWord(place=self.place, aspect=Aspect.SERVED, at_s=at_s, until_s=until_s)
            )
        return tuple(words)

    def heed(self, word: BoardWord, now: float, *, utc_s: float) -> bool:
        """Adopt another process's word; return whether that changed anything."""
        since = self._since(word, now - (utc_s - word.at_s))
        if since is None:
            return False
        self._heard[word.aspect] = _Moment(at_s=word.at_s, at=now)
        before = self._look()
        left_s = _left_s(word, utc_s)
        match word.aspect:
            case Aspect.BREAKER:
                self.health.follow_breaker(
                    State(word.value), since=since, now=now, rest_s=left_s, retired=word.retired
                )
            case Aspect.SUSPICION if now - since < STALE_S:
                kind = Kind.TIMEOUT if word.value else None  # the exact kind was reported there
                closed = self.health.breaker.state is State.CLOSED
                self.health.suspicion.follow(kind, since=since, now=now, may_clear=closed)
            case Aspect.REST:
                end_of = max if left_s > 0 else min
                self.health.rests_until = end_of(self.health.rests_until, now + left_s)
            case Aspect.ROTATION:
                self.health.rotation.follow(out=bool(word.value), since=min(now, since))
            case Aspect.SERVED:
                until = max(self.health.served_until, now + min(left_s, SERVED_S))
                self._served_until = self.health.served_until = until
            case _:
                pass
        after = self._look()
        self._took_over(before, after)
        return after != before

    def tell_again(self) -> None:
        """Make the next `news` repeat everything that differs from an unused rung."""
        self._again = True

    def _took_over(self, before: _Seen, after: _Seen) -> None:
        """Count adopted changes as seen, and nothing that is still to be published."""
        seen = self._seen
        self._seen = _Seen(
            breaker=after.breaker if after.breaker != before.breaker else seen.breaker,
            suspect_since=(
                after.suspect_since
                if after.suspect_since != before.suspect_since
                else seen.suspect_since
            ),
            rests_until=(
                after.rests_until if after.rests_until != before.rests_until else seen.rests_until
            ),
            withdrawn=after.withdrawn if after.withdrawn != before.withdrawn else seen.withdrawn,
        )

    def _look(self) -> _Seen:
        breaker = self.health.breaker
        return _Seen(
            breaker=(breaker.state, breaker.since),
            suspect_since=self.health.suspect_since,
            rests_until=self.health.rests_until,
            withdrawn=self.health.rotation.out,
        )

    def _rotation(self, offset_s: float) -> BoardWord:
        out = self.health.rotation.out
        at_s = self._moment(Aspect.ROTATION, self.health.rotation.at, offset_s)
        return BoardWord(
            place=self.place,
            aspect=Aspect.ROTATION,
            at_s=at_s,
            value="out" if out else "",
            until_s=at_s + FOREVER_S if out else 0.0,
        )

    def _breaker(self, offset_s: float) -> BoardWord:
        breaker = self.health.breaker
        wake_at = breaker.wake_at
        return BoardWord(
            place=self.place,
            aspect=Aspect.BREAKER,
            at_s=self._moment(Aspect.BREAKER, breaker.since, offset_s),
            value=breaker.state,
            until_s=0.0 if wake_at is None else wake_at + offset_s,
            retired=self.health.retired,
        )

    def _moment(self, aspect: Aspect, at: float, offset_s: float) -> float:
        """Return our time on the board's clock, after what we had read and published by then.

        The board's clock may have been set back since.
        """
        at_s = at + offset_s
        heard, told = self._heard.get(aspect), self._told.get(aspect)
        if heard is not None and at > heard.at:
            at_s = max(at_s, heard.at_s + LEAST_S)
        if told is not None and at >= told.at:
            at_s = max(at_s, told.at_s + (LEAST_S if at > told.at else 0.0))
        self._told[aspect] = _Moment(at_s=at_s, at=at)
        return at_s

    def _since(self, word: BoardWord, since: float) -> float | None:
        """Return a word's time on our clock, after the older ones; `None` if it is outdated."""
        heard, told = self._heard.get(word.aspect), self._told.get(word.aspect)
        if heard is not None and word.at_s <= heard.at_s:
            return None
        if told is None:
            return since
        return max(since, told.at + LEAST_S) if word.at_s > told.at_s else None


def _left_s(word: BoardWord, utc_s: float) -> float:
    """Return what is left of a rest, at most its whole length when it was published.

    The publishing process may know a different time on the board's clock, if that was set.
    """
    left_s, whole_s = word.until_s - utc_s, word.until_s - word.at_s
    return max(0.0, min(left_s, whole_s) if whole_s > 0 else left_s)
