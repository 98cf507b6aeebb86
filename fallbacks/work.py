"""One piece of work on a stage's ladder: the failover's decisions, entered in the books.

`Failover` decides which rung is asked; `HealthTable` remembers how each rung is. `Work` joins the
two, so that a stage cannot forget one of them. It emits nothing: the facts are among the steps.
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
    """What all calls of a process share about one stage."""

    stage: str  # stt, llm, tts
    roster: HealthTable
    pace: Pace = field(default_factory=Pace)
    allowance: Allowance = field(default_factory=Allowance)
    hedges: Allowance | None = None
    lag: Lag = field(default_factory=Lag)  # our own, which is no rung's
    early: EarlyBudget | None = None  # for asking before the turn is decided; None: never
    gates: Mapping[str, Gate] = field(default_factory=dict[str, Gate])  # by the rung's name
    cold: frozenset[str] = frozenset()  # standbys that are connected only when they are needed
    untimed: frozenset[str] = frozenset()  # voices that do not say when each word is spoken
    # What voices may be given of an unfinished sentence; those that are not named here: nothing.
    clauses: Mapping[str, ClauseRule] = field(default_factory=dict[str, ClauseRule])
    # Whose text two voices ended without, since a voice spoke. It alone is the text's fault.
    unspoken: tuple[Hashable, str] | None = None
    then_s: float = 0.0  # what takes time behind this stage before the caller hears something
    chance: Callable[[], float] = lambda: 0.5  # 0 to 1; spreads rests that nobody named

    def trusted(self, now: float) -> bool:
        """Say whether a rung may be asked that nobody doubts; if none may, a promising one."""
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
        """Return how the stage's rungs stand for one piece of work.

        Args:
            now: Monotonic, in seconds.
            offered: Whether this call can ask a rung; one that it cannot ask is not usable.
            hears: Whether a rung hears this call already. Where no rung may be asked it goes on;
                without such a one, this call tries each that no other caller tries.
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

        def goes_on(each: Standing) -> bool:
            out = self.roster.health(self.stage, each.provider).rotation.out
            return hears(each.provider) and not out

        left = [rung for rung in usable if goes_on(rung)]
        if not left:
            tried = [rung for rung in usable if rung.last_resort and offered(rung.provider)]
            left = [rung for rung in tried if rung.promising] or tried
        asked = partial(replace, usable=True, suspect=False, rests_until=None)
        return [asked(rung) if rung in left else rung for rung in usable]


class Work:
    """A turn's answer, an utterance's voice, or an utterance's words, on one stage's ladder.

    A shell hands in what happens, tells the facts and does the rest, in order:

        for step in work.handle(Progressed(attempt=attempt), now):
            match step:
                case TellFact():
                    tell(step.fact)
                case Start():
                    ask(step.provider, step.attempt)
                case Cancel() | Abandon():
                    drop(step.attempt)
                ...

    `tick` is called when `wake_at` has come; what comes of another attempt than `winner` is late.

    Attributes:
        policy: The stage.
        call: Whose work this is, where calls wait for each other.
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
            prompt: Says when the caller should hear something; None: a late answer will do.
            offered: Whether a rung can be asked in this call.
            hears: Whether a recogniser hears this call already.
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
        """The attempt that is heard; output of any other is late, and dropped."""
        return self._failover.winner

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self._failover.over

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return self._failover.choice.attempts

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return self._failover.wake_at

    def start(self, until: Deadline, now: float) -> tuple[Step, ...]:
        """Ask the first rung."""
        return self._enter(self._failover.start(until, now=now), (), now)

    def move(self, until: Deadline) -> None:
        """Change the deadline: sound of the answer was queued, or thrown away.

        What is said to hold the line moves nothing: who asks late has to see to their own patience.
        """
        self._failover.until = until

    def handle(self, event: WorkEvent, now: float) -> tuple[Step, ...]:
        """Decide on what happened to an attempt; what comes of an ended one is ignored."""
        patience_s = self.policy.pace.late_max_s
        entered = None if self.over else self._books.enter_event(event, now, patience_s=patience_s)
        if entered is None:
            return ()
        attempt_event, facts = entered  # the ladder reads what an entry has changed
        return self._enter(self._failover.handle(attempt_event, now), facts, now)

    def tick(self, now: float) -> tuple[Step, ...]:
        """Do what is due by the passing of time."""
        return self._enter(self._failover.tick(now), (), now)

    def cancel(self, because: CancelReason, now: float) -> tuple[Step, ...]:
        """Call everything off: the caller spoke, or hung up."""
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
        """Enter the failover's actions in the books; what a shell has to do is left."""
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
    """Return what happened to a start whose rung another call has asked meanwhile."""
    taken = failed(Kind.OVERLOADED, stage, provider=start.provider, reason="no permit left")
    return Failed(attempt=start.attempt, failure=taken)
