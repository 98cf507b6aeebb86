"""What several processes tell each other about a rung, and what each makes of it.

Each process looks at its own rungs and passes on what has changed: breaker, suspicion, rest. What
it took over from another is nothing new and is not passed on. Moments are those of the wall clock,
which all processes of a machine share; whoever knows something newer keeps it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fallbacks.breaker import State
from fallbacks.failure import Kind
from fallbacks.health import Health

STALE_S: Final = 300.0  # chosen: a suspicion that nobody has probed away by then is nobody's


class Aspect(StrEnum):
    """What a word is about."""

    BREAKER = "breaker"
    SUSPICION = "suspicion"
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a process says of a rung; the last word on an aspect counts."""

    place: str  # the rung, the same in all processes that ask the same server with the same key
    aspect: Aspect
    at_s: float  # wall clock: since when it is so
    value: str = ""  # the breaker's state; of a suspicion whether it stands
    until_s: float = 0.0  # wall clock: the end of a rest, also of an open breaker's
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    breaker: tuple[State, float] | None = None
    suspect_since: float | None = None
    rests_until: float | None = None


class SharedRung:
    """One rung's health, as it is told to others and heard from them."""

    def __init__(self, place: str, health: Health) -> None:
        self.place = place
        self.health = health
        self._seen = self._look()
        self._heard: dict[Aspect, float] = {}  # when the last word heeded on each was true

    def news(self, now: float, *, utc_s: float) -> tuple[Word, ...]:
        """Return what has changed by ourselves since the last look.

        Args:
            now: Monotonic, in seconds.
            utc_s: The wall clock at the same moment.
        """
        before, self._seen = self._seen, self._look()
        words: list[Word] = []
        if self._seen.breaker != before.breaker:
            words.append(self._breaker(utc_s - now))
        if self._seen.suspect_since != before.suspect_since:
            since = self._seen.suspect_since
            at = now if since is None else since
            value = "" if since is None else "suspect"
            words.append(self._word(Aspect.SUSPICION, at + utc_s - now, value=value))
        until = self.health.rests_until
        if until != before.rests_until and (until > now or before.rests_until is not None):
            until_s = until + utc_s - now
            words.append(self._word(Aspect.REST, utc_s, until_s=until_s))
        return tuple(words)

    def heed(self, word: Word, now: float, *, utc_s: float) -> bool:
        """Take over what another process says; say whether that changed anything."""
        if word.at_s <= self._heard.get(word.aspect, 0.0):
            return False
        self._heard[word.aspect] = word.at_s
        before = self._look()
        since, left_s = now - (utc_s - word.at_s), max(0.0, word.until_s - utc_s)
        match word.aspect:
            case Aspect.BREAKER:
                self.health.follow_breaker(
                    State(word.value), since=since, now=now, rest_s=left_s, retired=word.retired
                )
            case Aspect.SUSPICION if now - since < STALE_S:
                kind = Kind.TIMEOUT if word.value else None  # which kind is told where it was met
                self.health.follow_suspicion(kind, since=since, now=now)
            case Aspect.REST:
                self.health.follow_rest(left_s, now)
            case _:
                pass
        after = self._look()
        self._took_over(before, after)
        return after != before

    def tell_again(self) -> None:
        """Have the next news say all that is not as in a rung nobody ever asked."""
        self._seen = _Seen()

    def _took_over(self, before: _Seen, after: _Seen) -> None:
        """Count as seen what came from outside, and nothing that is still to be told."""
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
        )

    def _look(self) -> _Seen:
        breaker = self.health.breaker
        return _Seen(
            breaker=(breaker.state, breaker.since),
            suspect_since=self.health.suspect_since,
            rests_until=self.health.rests_until,
        )

    def _breaker(self, offset_s: float) -> Word:
        breaker = self.health.breaker
        wake_at = breaker.wake_at
        return self._word(
            Aspect.BREAKER,
            breaker.since + offset_s,
            value=breaker.state,
            until_s=0.0 if wake_at is None else wake_at + offset_s,
            retired=self.health.retired,
        )

    def _word(
        self,
        aspect: Aspect,
        at_s: float,
        *,
        value: str = "",
        until_s: float = 0.0,
        retired: bool = False,
    ) -> Word:
        return Word(
            place=self.place,
            aspect=aspect,
            at_s=at_s,
            value=value,
            until_s=until_s,
            retired=retired,
        )
