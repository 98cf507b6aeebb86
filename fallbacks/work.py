"""One request on a stage's ladder: the failover's decisions, recorded in the health table.

`Failover` decides which rung is asked; `HealthTable` remembers the health of each rung. `Work`
joins the two, so that a stage cannot forget one of them. It publishes nothing: the events are among
the steps.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from fallbacks.attempts import (
    Action,
    CancelReason,
    Failed,
    Start,
    Step,
    Suspect,
    TellFact,
    WorkEvent,
)
from fallbacks.books import AttemptRecords
from fallbacks.clauses import ClauseRule
from fallbacks.deadline import Deadline
from fallbacks.early_answer import EarlyBudget
from fallbacks.facts import Fact
from fallbacks.failover import Failover
from fallbacks.failure import Kind, failed
from fallbacks.health import Standing
from fallbacks.ladder import Allowance, Pace
from fallbacks.lag import Lag
from fallbacks.limits import Gate, may_wait_until
from fallbacks.roster import HealthTable


@dataclass(slots=True, kw_only=True)
class StagePolicy:
    """The settings and state of one stage that all calls of a process share."""

    stage: str  # stt, llm, tts
    roster: HealthTable
    pace: Pace = field(default_factory=Pace)
    allowance: Allowance = field(default_factory=Allowance)
    hedges: Allowance | None = None
    lag: Lag = field(default_factory=Lag)  # our own stalls, which are no rung's fault
    early: EarlyBudget | None = None  # for early answers; `None` if there are none
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])  # by the rung's name
    cold: frozenset[str] = frozenset()  # standbys that connect only when they are needed
    untimed: frozenset[str] = frozenset()  # voices that do not report word times
    # How much of an unfinished sentence a voice may get; voices without an entry get nothing.
    clauses: Mapping[str, ClauseRule] = field(default_factory=dict[str, ClauseRule])
    # Set when two voices ended without speaking a text: then the text alone is at fault.
    unspoken: tuple[Hashable, str] | None = None
    then_s: float = 0.0  # the time that later stages need before the caller hears something
    chance: Callable[[], float] = lambda: 0.5  # 0 to 1; spreads rests without a specified time

    def trusted(self, now: float) -> bool:
        """Return whether a usable rung is not suspect; if none is usable, any promising one."""
        found = self.roster.standings(self.stage, now)
        usable = [rung for rung in found if rung.usable]
        if usable:
            return any(not rung.suspect for rung in usable)
        return any(rung.promising for rung in found)

    def standings(
        self,
        now: float,
        *,
        offered: Callable[[str], bool] = lambda _: True,
        hears: Callable[[str], bool] = lambda _: False,
    ) -> Sequence[Standing]:
        """Return the standings of the stage's rungs for one request.

        Args:
            now: Monotonic, in seconds.
            offered: Whether this call can ask a rung; one that it cannot ask is not usable.
            hears: Whether a rung already hears this call. It continues when no rung may be asked.
                If there is none, this call tries every rung without a trial in progress.
        """
        found = self.roster.standings(self.stage, now)
        usable = [
            standing
            if offered(standing.provider)
            else replace(standing, usable=False, rests_until=None)
            for standing in found
        ]
        if any(item.usable for item in usable):
            return usable

        def goes_on(rung: Standing) -> bool:
            out = self.roster.health(self.stage, rung.provider).rotation.out
            return hears(rung.provider) and not out

        left = [rung for rung in usable if goes_on(rung)]
        if not left:
            tried = [rung for rung in usable if rung.last_resort and offered(rung.provider)]
            left = [rung for rung in tried if rung.promising] or tried
        asked = partial(replace, usable=True, suspect=False, rests_until=None)
        return [asked(rung) if rung in left else rung for rung in usable]


class Work:
    """A turn's answer, an utterance's voice, or an utterance's words, on one stage's ladder.

    The stage passes in events, publishes the returned ones and performs the other steps, in order:

        for step in work.handle(Progressed(attempt=attempt), now):
            match step:
                case TellFact():
                    tell(step.fact)
                case Start():
                    ask(step.provider, step.attempt)
                case Cancel() | Abandon():
                    drop(step.attempt)
                ...

    `tick` is called at `wake_at`; output of attempts other than `winner` is late.

    Attributes:
        policy: The stage.
        call: Identifies the call, where calls queue for a place.
    """

    def __init__(
        self,
        policy: StagePolicy,
        *,
        numbers: Iterator[int],
        stay_with: str | None = None,
        prompt: Callable[[float], Deadline] | None = None,
        offered: Callable[[str], bool] = lambda _: True,
        hears: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Prepare.

        Args:
            policy: The stage.
            numbers: Gives attempt numbers; one for each call.
            stay_with: The rung that the caller knows.
            prompt: Returns when the caller should hear something; `None` if a late answer will do.
            offered: Whether a rung can be asked in this call.
            hears: Whether a recogniser already hears this call.
        """
        self.policy = policy
        self.call: Hashable = numbers
        self._prompt = prompt
        self._books = AttemptRecords(
            policy.stage,
            policy.roster,
            expected=stay_with,
            chance=policy.chance,
            lag=policy.lag,
            call=numbers,
        )
        self._failover = Failover(
            partial(policy.standings, offered=offered, hears=hears),
            pace=policy.pace,
            allowance=policy.allowance,
            numbers=numbers,
            hedges=policy.hedges,
            stay_with=stay_with,
        )
        self._failover.lag, self._books.hears = policy.lag, hears

    @property
    def winner(self) -> int | None:
        """The attempt whose output is used; any other output is late, and dropped."""
        return self._failover.winner

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self._failover.over

    @property
    def attempts(self) -> int:
        """The number of attempts started."""
        return self._failover.choice.attempts

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return self._failover.wake_at

    def start(self, until: Deadline, now: float) -> tuple[Step, ...]:
        """Ask the first rung."""
        return self._enter(self._failover.start(until, now=now), (), now)

    def move(self, until: Deadline) -> None:
        """Change the deadline: audio of the answer was queued, or discarded.

        A filler does not move it, so the answer's own attempts keep their patience.
        """
        self._failover.until = until

    def handle(self, event: WorkEvent, now: float) -> tuple[Step, ...]:
        """Decide on an event of an attempt; events of an ended attempt are ignored."""
        patience_s = self.policy.pace.late_max_s
        entered = None if self.over else self._books.enter_event(event, now, patience_s=patience_s)
        if entered is None:
            return ()
        attempt_event, facts = entered  # the ladder must see what this recorded
        return self._enter(self._failover.handle(attempt_event, now), facts, now)

    def tick(self, now: float) -> tuple[Step, ...]:
        """Do what is due by now."""
        return self._enter(self._failover.tick(now), (), now)

    def cancel(self, because: CancelReason, now: float) -> tuple[Step, ...]:
        """Cancel everything: the caller spoke, or hung up."""
        return self._enter(self._failover.cancel(because), (), now)

    def may_wait_until(self, until: Deadline, now: float) -> Deadline:
        """Return how long an attempt may wait for a place before the next rung is asked."""
        return may_wait_until(
            self._failover.choice.standbys(now),
            prompt=self._prompt(now) if self._prompt else until,
            until=until,
            then_s=self.policy.then_s,
        )

    def _enter(
        self, actions: tuple[Action, ...], facts: tuple[Fact, ...], now: float
    ) -> tuple[Step, ...]:
        """Record the failover's actions; return the steps that are left for the stage."""
        told, steps, waiting = list(facts), list[Step](), deque(actions)
        while waiting:
            action = waiting.popleft()
            entered = self._books.enter_action(action, now)
            if entered is not None:
                told += entered
                steps += [] if isinstance(action, Suspect) else [action]
            elif isinstance(action, Start):
                refused = _no_permit(self.policy.stage, action)
                waiting.extendleft(reversed(self._failover.handle(refused, now)))
        return (*map(TellFact, told), *steps)


def _no_permit(stage: str, start: Start) -> Failed:
    """Return the failure of a start whose rung another call has taken meanwhile."""
    taken = failed(Kind.OVERLOADED, stage, provider=start.provider, reason="no permit left")
    return Failed(attempt=start.attempt, failure=taken)
