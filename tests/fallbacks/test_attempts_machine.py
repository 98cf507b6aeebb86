"""The ladder's rules under any order of events, with rungs that come and go."""

import itertools
from collections import Counter
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    Done,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Paused,
    Progressed,
    Resumed,
    Stop,
    Use,
)
from fallbacks.attempts import Attempting
from fallbacks.availability import (
    BUSY,
    Availability,
    AvailabilityTable,
    Place,
    RungAvailability,
    RungState,
)
from fallbacks.deadline import Deadline
from fallbacks.events import AttemptStarted, FallbackEvent, HedgeStarted, Suspected
from fallbacks.failure import Failure, Finding, Kind, Scope, failed, finding
from fallbacks.ladder import MAX_REPEATS, Allowance, Pace, StagePolicy
from tests.thoroughness import promised_machine

FOUND = [finding(kind) for kind in Kind] + [finding(Kind.BAD_REQUEST, Scope.PAYLOAD)]
SHARE = 0.1
MAX_S = 60.0  # of work that gets no more input


class Rungs(AvailabilityTable):
    """Rungs that come and go as the test says, whatever the attempts report."""

    def __init__(self, names: str) -> None:
        places = [Place(stage="llm", provider=name, credential="") for name in names]
        super().__init__(places, now=100.0)
        self.states = {name: Availability(provider=name, p50_s=0.2, p95_s=0.3) for name in names}

    def of(self, stage: str, provider: str) -> RungAvailability:
        rung = super().of(stage, provider)
        rung.suspect_since = None
        return rung

    def ladder(self, stage: str, now: float) -> list[Availability]:
        del stage, now
        return list(self.states.values())

    def failed(self, *_: object, **__: object) -> tuple[()]:
        return ()

    def succeeded(self, *_: object, **__: object) -> tuple[()]:
        return ()


class Machine(RuleBasedStateMachine):
    @initialize(
        rungs=st.integers(1, 3),
        floor=st.integers(0, 3),
        hedged=st.booleans(),
        silent_end_ok=st.booleans(),
    )
    def begin(self, rungs: int, floor: int, hedged: bool, silent_end_ok: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        self.now = 100.0
        self.until = Deadline(at=101.5)
        self.table = table = Rungs("abc"[:rungs])
        self.rungs = table.states
        self.allowance = Allowance(share=SHARE, floor=floor)
        self.pace = Pace(silent_end_ok=silent_end_ok)
        self.running: dict[int, str] = {}
        self.idle: set[int] = set()
        self.suspects: set[int] = set()
        self.ended: set[int] = set()
        self.hot: int | None = None  # the attempt whose event is being handled
        self.winner: int | None = None
        self.over = False
        self.starts = 0
        self.extras = 0
        self.races = 0  # and second tries: the extra ones that are not hedges
        self.floor = floor
        self.asked: set[str] = set()
        self.said: dict[str, Failure] = {}  # rungs that failed, and their last failures
        self.times: Counter[str] = Counter()  # that each was asked
        self.let_down: set[str] = set()  # rungs that failed or kept the caller waiting too long
        self.hedges = Allowance(share=0.05, floor=1) if hedged else None
        policy = StagePolicy(
            stage="llm",
            availability=table,
            pace=self.pace,
            allowance=self.allowance,
            hedges=self.hedges,
        )
        self.work = Attempting(policy, numbers=itertools.count(1))
        self._do(self.work.start(self.until, now=self.now))

    def _do(self, actions: tuple[AttemptAction, ...]) -> None:
        assert not (self.over and actions), "finished work has no actions"
        facts = [action.fact for action in actions if isinstance(action, EmitEvent)]
        self.paid = {
            fact.attempt for fact in facts if isinstance(fact, AttemptStarted) if fact.extra
        }
        self.hedged = {fact.attempt for fact in facts if isinstance(fact, HedgeStarted)}
        for fact in facts:
            self._read(fact)
        for action in actions:
            self._act(action)
        assert self.over == self.work.over
        for name in self.rungs:
            self.table.of("llm", name)  # only `change` makes a rung suspect for long

    def _read(self, fact: FallbackEvent) -> None:
        if isinstance(fact, Suspected):
            late = [n for n, name in self.running.items() if name == fact.provider]
            late = [n for n in late if n not in self.suspects | self.idle]
            assert late
            self.suspects.add(late[0])

    def _act(self, action: AttemptAction) -> None:
        match action:
            case Ask():
                self._started(action)
            case Use():
                assert action.attempt in self.running
                assert action.attempt == self.hot
                self.winner = action.attempt
            case Stop():
                assert action.attempt not in self.ended
                self._end(action.attempt)
                if action.because == "late":
                    self.let_down.add(action.provider)
                    self.said.pop(action.provider, None)
            case Done():
                assert action.attempt == self.hot
                self.over = True
            case Exhausted():
                assert not self.running
                assert not self._owed_another_try(), "a refusal is no reason to give up"
                self.over = True

    def _started(self, action: Ask) -> None:
        assert self.rungs[action.provider].usable
        assert action.attempt == self.starts + 1
        assert len(self.running) < 2
        awake = self.running.keys() - self.suspects
        assert not awake or self.hedges is not None
        if (
            action.provider not in self.asked
            and self.rungs[action.provider].state is RungState.SUSPECT
        ):
            assert not self._unasked_and_trusted(), "a suspect rung comes last"
        if action.provider in self.let_down and not action.mended and self.hot is not None:
            assert not self.until.passed(self.now), "no rung is asked twice after the deadline"
        self.asked.add(action.provider)
        self.times[action.provider] += 1
        self.starts += 1
        self.extras += action.attempt in self.paid
        self.races += action.attempt in self.paid - self.hedged
        self.running[action.attempt] = action.provider

    def _owed_another_try(self) -> list[str]:
        failures = [self.said.get(name) for name in self.asked]
        if len(failures) > 1 and all(item and item.kind not in BUSY for item in failures):
            return []  # every rung has answered the same request with a failure
        return [
            name
            for name, failure in self.said.items()
            if self.rungs[name].usable
            and not failure.permanent
            and failure.kind not in (Kind.RATE_LIMITED, Kind.TIMEOUT)
            and failure.retry_after_s is None
            and failure.scope is not Scope.PAYLOAD
            and self.times[name] <= MAX_REPEATS
            and not self.until.passed(self.now)
        ]

    def _unasked_and_trusted(self) -> list[str]:
        return [
            name
            for name, rung in self.rungs.items()
            if name not in self.asked and rung.state is RungState.READY
        ]

    def _end(self, attempt: int) -> None:
        self.running.pop(attempt, None)
        self.ended.add(attempt)
        self.suspects.discard(attempt)
        self.idle.discard(attempt)
        if self.winner == attempt:
            self.winner = None

    def _one(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.running)))

    @precondition(lambda self: self.running and not self.over)
    @rule(data=st.data())
    def speak(self, data: st.DataObject) -> None:
        self.hot = self._one(data)
        self._do(self.work.handle(Progressed(attempt=self.hot), now=self.now))
        self.suspects.discard(self.hot)

        assert self.work.winner == self.winner == self.hot
        assert set(self.running) == {self.hot}

    @precondition(lambda self: self.running and not self.over)
    @rule(data=st.data(), found=st.sampled_from(FOUND), wait_s=st.sampled_from([None, 0.2]))
    def fail(self, data: st.DataObject, found: Finding, wait_s: float | None) -> None:
        self.hot = self._one(data)
        provider = self.running[self.hot]
        self.let_down.add(provider)
        self._end(self.hot)
        failure = failed(found, "llm", provider=provider, retry_after_s=wait_s)
        self.said[provider] = failure
        self._do(self.work.handle(Failed(attempt=self.hot, failure=failure), now=self.now))

    @precondition(lambda self: self.running and not self.over)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.hot = self._one(data)
        spoke = self.hot == self.winner
        good = spoke or self.pace.silent_end_ok
        if good:
            self._end(self.hot)
        self._do(self.work.handle(Finished(attempt=self.hot), now=self.now))

        assert self.over or not good

    @precondition(lambda self: self.running and not self.over)
    @rule(data=st.data(), owed=st.booleans())
    def feed(self, data: st.DataObject, owed: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        one = self._one(data)
        if owed:
            self.idle.discard(one)
            event = Resumed(attempt=one)
        else:
            self.idle.add(one)
            self.suspects.discard(one)
            event = Paused(attempt=one)
        self._do(self.work.handle(event, now=self.now))

    @rule(after_s=st.sampled_from([0.0, 0.1, 0.36, 0.5, 0.9, 2.0]))
    def wait(self, after_s: float) -> None:
        self.now += after_s
        self.hot = None
        self._do(self.work.tick(self.now))

        assert self.work.wake_at is None or self.work.wake_at > self.now

    @rule(more_s=st.sampled_from([0.0, 0.5, 3.0]))
    def say_something(self, more_s: float) -> None:
        self.until = Deadline(at=max(self.until.at, self.now + more_s))
        self.work.until = self.until

    @rule(data=st.data(), usable=st.booleans(), suspect=st.booleans())
    def change(self, data: st.DataObject, usable: bool, suspect: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        name = data.draw(st.sampled_from(sorted(self.rungs)))
        state = RungState.SUSPECT if suspect else RungState.READY
        self.rungs[name] = replace(self.rungs[name], state=state if usable else RungState.OUT)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        late = data.draw(st.sampled_from(sorted(self.ended)))

        assert self.work.handle(Progressed(attempt=late), now=self.now) == ()
        assert self.work.winner != late or self.over

    @precondition(lambda self: not self.over)
    @rule()
    def barge_in(self) -> None:
        stops = [item for item in self.work.cancel("caller") if not isinstance(item, EmitEvent)]

        assert {stop.because for stop in stops if isinstance(stop, Stop)} <= {"caller"}
        assert {stop.attempt for stop in stops if isinstance(stop, Stop)} == set(self.running)
        for attempt in list(self.running):
            self._end(attempt)
        self.over = True

    @invariant()
    def attempts_are_bounded(self) -> None:
        rungs = len(self.rungs)
        assert self.starts <= rungs * (1 + MAX_REPEATS + 1)  # once, again, and once repaired
        assert self.work.attempts == self.starts

    @invariant()
    def extra_attempts_are_paid_for(self) -> None:
        hedges = 0 if self.hedges is None else self.hedges.spent
        assert self.extras <= self.allowance.spent + hedges
        assert self.races <= max(self.floor, int(SHARE * self.starts))

    @invariant()
    def whoever_is_asked_is_watched(self) -> None:
        watched = self.running.keys() - self.idle
        assert not watched or self.over or self.work.wake_at is not None

    @invariant()
    def work_that_is_not_over_has_somebody_or_waits_for_somebody(self) -> None:
        assert self.over or self.running or self.work.wake_at is not None

    def teardown(self) -> None:
        """Left alone, with every rung mute, all work comes to an end by itself."""
        if not hasattr(self, "work"):
            return
        for one in sorted(self.idle):
            self.idle.discard(one)
            self._do(self.work.handle(Resumed(attempt=one), now=self.now))
        limit = self.now + MAX_S
        self.hot = None
        while not self.over:
            assert self.work.wake_at is not None
            self.now = max(self.now, self.work.wake_at)
            assert self.now < limit
            self._do(self.work.tick(self.now))


TestAttempting = Machine.TestCase
TestAttempting.settings = promised_machine
