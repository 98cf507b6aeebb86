"""One piece of work on a stage's ladder: the failover's decisions, booked and told.

`Failover` decides who is asked; `Roster` remembers who can be trusted. This puts the two together
so that a shell cannot forget one of them: every attempt has a permit, every end of an attempt
hands it back, and every step is told as a fact.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fallbacks.attempts import (
    Abandon,
    Action,
    AttemptEvent,
    Cancel,
    Done,
    Exhausted,
    Failed,
    Finished,
    Idled,
    Owed,
    Progressed,
    Start,
    Suspect,
    Win,
)
from fallbacks.deadline import Deadline
from fallbacks.failover import Failover
from fallbacks.failure import Failure, Kind, failed
from fallbacks.health import Health, Standing
from fallbacks.ladder import Allowance, Pace
from fallbacks.limits import Gate, may_wait_until
from fallbacks.roster import Roster
from fallbacks.telling import Attempt, Fact, Telling

Step: TypeAlias = Start | Win | Cancel | Abandon | Done | Exhausted
"""What a shell has to do; the rest is done here."""


@dataclass(slots=True, kw_only=True)
class StagePolicy:
    """What all calls of a process share about one stage."""

    stage: str  # stt, llm, tts
    roster: Roster
    pace: Pace = field(default_factory=Pace)
    allowance: Allowance = field(default_factory=Allowance)
    hedges: Allowance | None = None
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])  # by the rung's name
    cold: frozenset[str] = frozenset()  # standbys that are connected only when they are needed
    then_s: float = 0.0  # what takes time behind this stage before the caller hears something
    chance: Callable[[], float] = lambda: 0.5  # 0 to 1; spreads rests that nobody named


class Work:
    """A turn's answer, an utterance's voice, or an utterance's words, on one stage's ladder."""

    def __init__(
        self,
        policy: StagePolicy,
        *,
        tell: Callable[[Fact], None],
        numbers: Iterator[int],
        stay_with: str | None = None,
        prompt: Callable[[float], Deadline] | None = None,
        offered: Callable[[str], bool] | None = None,
    ) -> None:
        """Prepare.

        Args:
            policy: The stage.
            tell: Takes the facts.
            numbers: Gives attempt numbers; one for each call.
            stay_with: The rung that the caller knows.
            prompt: Says when the caller should hear something, which may be sooner than even a late
                answer is given up; None: it is the same.
            offered: Whether a rung can be asked in this call; None: all can.
        """
        self._policy = policy
        self._prompt = prompt
        self._offered = offered
        self.call: Hashable = numbers  # whose work this is, where calls wait for each other
        self._telling = Telling(policy.stage, tell)
        self._attempts: dict[int, Attempt] = {}
        self._known = stay_with  # whom the caller expects: the last one heard, or the first asked
        self._failover = Failover(
            self._standings,
            pace=policy.pace,
            allowance=policy.allowance,
            numbers=numbers,
            hedges=policy.hedges,
            stay_with=stay_with,
        )

    @property
    def winner(self) -> int | None:
        """The attempt that is heard; output of any other is late, and dropped."""
        return self._failover.winner

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self._failover.over

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return self._failover.attempts

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return self._failover.wake_at

    def provider(self, attempt: int) -> str | None:
        """Return whose attempt it is, while it is under way."""
        found = self._attempts.get(attempt)
        return found.provider if found else None

    def start(self, until: Deadline, *, now: float) -> tuple[Step, ...]:
        """Ask the first rung."""
        return self._book(self._failover.start(until, now=now), now)

    def move(self, until: Deadline) -> None:
        """Take in a new deadline."""
        self._failover.move(until)

    def progressed(self, attempt: int, *, now: float) -> tuple[Step, ...]:
        """Take in useful content: a word, audible audio, a transcript."""
        return self._handle(Progressed(attempt=attempt), now)

    def finished(self, attempt: int, *, now: float) -> tuple[Step, ...]:
        """Take in that an attempt says it is done, and the protocol agrees."""
        return self._handle(Finished(attempt=attempt), now)

    def idled(self, attempt: int, *, now: float) -> tuple[Step, ...]:
        """Take in that nothing is asked of an attempt at the moment."""
        return self._handle(Idled(attempt=attempt), now)

    def owed(self, attempt: int, *, now: float) -> tuple[Step, ...]:
        """Take in that work is asked of an attempt again."""
        return self._handle(Owed(attempt=attempt), now)

    def waits(self, attempt: int, *, now: float) -> tuple[Step, ...]:
        """Take in that an attempt cannot begin yet, which is not the rung's fault."""
        return self._handle(Idled(attempt=attempt), now)

    def trusted(self, now: float) -> bool:
        """Return whether a rung may be asked that nobody doubts."""
        return any(each.usable and not each.suspect for each in self._standings(now))

    def gate(self, provider: str) -> Gate | None:
        """Return the gate that an attempt at a rung has to pass, if there is one."""
        return self._policy.gates.get(provider)

    def may_wait_until(self, until: Deadline, *, now: float) -> Deadline:
        """Return how long an attempt may wait for a place before the next rung is asked."""
        return may_wait_until(
            self._failover.standbys(now),
            prompt=self._prompt(now) if self._prompt else until,
            until=until,
            then_s=self._policy.then_s,
        )

    def admitted(self, attempt: int, *, now: float, waited: bool = False) -> tuple[Step, ...]:
        """Take in that an attempt has begun: from now on its silence counts.

        Args:
            attempt: Which.
            now: Monotonic, in seconds.
            waited: For a place, which there was not at once.
        """
        kept = self._attempts.get(attempt)
        if kept is None or self.over:
            return ()
        if waited:
            self._telling.limited(kept, asked=True, now=now)
        self._attempts[attempt] = replace(kept, started=now)
        return self._handle(Owed(attempt=attempt), now)

    def refused(self, attempt: int, *, now: float) -> tuple[Step, ...]:
        """Take in that no place was free in time: the next rung is asked, and nobody blamed."""
        kept = self._attempts.pop(attempt, None)
        if kept is None or self.over:
            return ()
        self._telling.limited(kept, asked=False, now=now)
        self._called_off(kept, "limit")
        full = failed(Kind.RATE_LIMITED, self._policy.stage, provider=kept.provider)
        return self._handle(Failed(attempt=attempt, failure=full), now)

    def failed(
        self,
        attempt: int,
        failure: Failure,
        *,
        now: float,
        heard_words: int = 0,
        request: str = "",
    ) -> tuple[Step, ...]:
        """Take in a failure for certain; the roster learns of it before the ladder is asked.

        Args:
            attempt: Whose.
            failure: What went wrong.
            now: Monotonic, in seconds.
            heard_words: How many of its words the caller will hear.
            request: Tells different requests apart; for bad requests.
        """
        kept = self._attempts.get(attempt)
        if kept is None or self.over:
            return ()
        self._telling.failed(kept, failure, now=now, heard_words=heard_words)
        facts = self._policy.roster.failed(
            kept.permit, failure, now=now, request=request, chance=self._policy.chance()
        )
        self._telling.all(facts)
        del self._attempts[attempt]
        return self._handle(Failed(attempt=attempt, failure=failure), now)

    def tick(self, now: float) -> tuple[Step, ...]:
        """Do what is due by the passing of time."""
        return self._book(self._failover.tick(now), now)

    def cancel(self, because: str, *, now: float) -> tuple[Step, ...]:
        """Call everything off: the caller spoke, or hung up."""
        return self._book(self._failover.cancel(because), now)

    def _handle(self, event: AttemptEvent, now: float) -> tuple[Step, ...]:
        return self._book(self._failover.handle(event, now=now), now)

    def _book(self, actions: tuple[Action, ...], now: float) -> tuple[Step, ...]:
        steps: list[Step] = []
        waiting = list(actions)
        while waiting:
            action = waiting.pop(0)
            match action:
                case Start():
                    refused = self._started(action, now)
                    waiting = [*refused, *waiting]
                    steps += [] if refused else [action]
                case Suspect():
                    self._telling.all(self._health(action.provider).late(action.kind, now))
                case _:
                    self._ended(action, now)
                    steps.append(action)
        return tuple(steps)

    def _started(self, start: Start, now: float) -> tuple[Action, ...]:
        """Book a start; return what follows when the rung may not be asked after all."""
        stage = self._policy.stage
        permit = self._health(start.provider).permit(now)
        if permit is None:
            taken = failed(Kind.OVERLOADED, stage, provider=start.provider, reason="no permit left")
            return self._failover.handle(Failed(attempt=start.attempt, failure=taken), now=now)
        self._attempts[start.attempt] = Attempt(start.attempt, start.provider, permit, now)
        self._known = self._known or start.provider
        self._telling.started(start, now)
        if start.hedge:
            first = next(each for each in self._attempts.values() if each.number != start.attempt)
            self._telling.hedged(start, behind=first, now=now)
        return ()

    def _ended(self, action: Win | Cancel | Abandon | Done | Exhausted, now: float) -> None:
        match action:
            case Win():
                self._won(action, now)
            case Done():
                kept = self._attempts.pop(action.attempt)
                place = (self._policy.stage, kept.provider)
                self._telling.all(self._policy.roster.succeeded(place, kept.permit, now=now))
            case Cancel():
                self._called_off(self._attempts.pop(action.attempt), action.because)
            case Abandon():
                kept = self._attempts.pop(action.attempt)
                failure = failed(action.kind, self._policy.stage, provider=kept.provider)
                self._telling.failed(kept, failure, now=now)
                self._telling.all(self._policy.roster.failed(kept.permit, failure, now=now))
            case Exhausted():
                self._telling.exhausted(action.attempts)

    def _won(self, win: Win, now: float) -> None:
        kept = self._attempts[win.attempt]
        self._health(kept.provider).latency.took(now - kept.started)
        self._telling.won(kept, known=self._known, now=now)
        self._known = kept.provider

    def _called_off(self, kept: Attempt, because: str) -> None:
        self._health(kept.provider).cancelled(kept.permit)
        self._telling.dropped(kept, because)

    def _standings(self, now: float) -> Sequence[Standing]:
        standings = self._policy.roster.standings(self._policy.stage, now)
        offered = self._offered
        if offered is None:
            return standings
        return [replace(each, usable=each.usable and offered(each.provider)) for each in standings]

    def _health(self, provider: str) -> Health:
        return self._policy.roster.health(self._policy.stage, provider)
