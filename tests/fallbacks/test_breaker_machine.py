"""The breaker's rules under any order of events."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fallbacks.breaker import Breaker, BreakerSettings, Permit, State
from fallbacks.events import BreakerMoved

SOON = st.sampled_from([0.0, 0.2, 1.0, 9.9, 10.0, 30.0, 900.0])


class Machine(RuleBasedStateMachine):
    @initialize(failures=st.integers(1, 4), successes=st.integers(1, 3), probing=st.booleans())
    def begin(self, failures: int, successes: int, probing: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        self.now = 0.0
        self.settings = BreakerSettings(
            failures=failures, successes=successes, probing=probing, open_s=30.0, trial_s=10.0
        )
        self.breaker = Breaker("llm", "openai", now=0.0, settings=self.settings)
        self.out: list[tuple[Permit, State, int, float]] = []  # permit, state, moves then, when
        self.trial = 0  # number of the permit that went out on trial last
        self.moves = 0
        self.in_a_row = 0  # failures, by our own count
        self.good_trials = 0
        self.rest_s = 30.0
        self.opened_at = 0.0

    def _note(self, moved: tuple[BreakerMoved, ...]) -> None:
        for breaker_moved in moved:
            self.moves += 1
            self.in_a_row = self.good_trials = 0
            if breaker_moved.after == State.OPEN:
                self.opened_at = self.now

    def _fresh(self, then: tuple[Permit, State, int, float]) -> bool:
        """Whether a result counts: of this state, and in a trial only the latest unexpired one."""
        _, state, moves, _ = then
        if moves != self.moves:
            return False
        return state is State.CLOSED or then is self._latest_trial()

    def _latest_trial(self) -> tuple[Permit, State, int, float] | None:
        """Return the latest trial while it is unexpired; an earlier one stays forgotten."""
        return next(
            (
                frame
                for frame in self.out
                if frame[0].number == self.trial and frame[2] == self.moves
            ),
            None,
        )

    @rule()
    def hear_on(self) -> None:
        given = self.breaker.permit(self.now, hears=True)

        assert given is not None
        self.out.append((given, self.breaker.state, self.moves, self.now))

    @rule(probe=st.booleans(), last_resort=st.booleans())
    def ask(self, probe: bool, last_resort: bool = False) -> None:  # noqa: FBT001, FBT002  hypothesis calls it by keyword
        state, trial = self.breaker.state, self._latest_trial()
        given = self.breaker.permit(self.now, probe=probe, last_resort=last_resort)

        busy = trial is not None and self.now < trial[3] + self.settings.trial_s
        busy = busy and trial is not None and (probe or not trial[0].probe)
        live = last_resort or (not self.settings.probing and state is State.HALF_OPEN)
        expected = state is State.CLOSED or ((probe or live) and not busy)
        assert (given is not None) == expected
        if given is not None:
            self.out.append((given, state, self.moves, self.now))
            self.trial = self.trial if state is State.CLOSED else given.number

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        then = data.draw(st.sampled_from(self.out))
        fresh, before = self._fresh(then), self.breaker.state
        self.out.remove(then)
        moved = self.breaker.succeeded(then[0], self.now)

        if not fresh:
            assert moved == ()
            return
        if before is State.CLOSED:
            assert moved == ()
            self.in_a_row = 0
        elif not then[0].probe:  # one served caller is enough
            assert [move.after for move in moved][-1] is State.CLOSED
        elif before is State.OPEN:
            assert [move.after for move in moved] == [State.HALF_OPEN]
        else:
            self.good_trials += 1
            closes = self.good_trials >= self.settings.successes
            assert [item.after for item in moved] == ([State.CLOSED] if closes else [])
        self._note(moved)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), trip=st.booleans())
    def fail(self, data: st.DataObject, trip: bool) -> None:  # noqa: FBT001  hypothesis calls it by keyword
        then = data.draw(st.sampled_from(self.out))
        fresh, before = self._fresh(then), self.breaker.state
        self.out.remove(then)
        wake_at = self.breaker.wake_at
        moved = self.breaker.failed(then[0], self.now, trip=trip)

        if not fresh:
            assert moved == ()
            return
        self.in_a_row += before is State.CLOSED
        opens = before is State.HALF_OPEN or (
            before is State.CLOSED and (trip or self.in_a_row >= self.settings.failures)
        )
        assert [text.after for text in moved] == ([State.OPEN] if opens else [])
        if before is State.OPEN and trip:
            assert wake_at is not None
            self.opened_at = max(self.opened_at, self.now)
        self._note(moved)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        then = data.draw(st.sampled_from(self.out))
        before = (self.breaker.state, self.breaker.failures, self.breaker.successes)
        self.out.remove(then)
        self.breaker.take_back(then[0])

        assert before == (self.breaker.state, self.breaker.failures, self.breaker.successes)

    @rule(after_s=SOON)
    def wait(self, after_s: float) -> None:
        self.now += after_s
        before = self.breaker.state
        moved = self.breaker.tick(self.now)

        rested = before is State.OPEN and self.now >= self.opened_at + 30.0
        assert [item.after for item in moved] == ([State.HALF_OPEN] if rested else [])
        self._note(moved)
        self.moves -= len(moved)  # permits stay valid when only time has passed

    @rule()
    def reset(self) -> None:
        before = self.breaker.state
        moved = self.breaker.reset(self.now)

        opens = before is State.OPEN
        assert [item.after for item in moved] == ([State.HALF_OPEN] if opens else [])
        self.in_a_row = 0
        self._note(moved)

    @rule(state=st.sampled_from(State), age_s=SOON, rest_s=st.sampled_from([0.0, 12.0, 30.0]))
    def hear(self, state: State, age_s: float, rest_s: float) -> None:
        """Adopt another process's breaker."""
        before, since = self.breaker.state, self.now - age_s
        outdated = self.moves > 0 and since <= self.breaker.changed_at
        moved = self.breaker.follow(state, since=since, now=self.now, rest_s=rest_s)

        opens = state is State.OPEN and rest_s > 0
        path = {State.OPEN: [State.HALF_OPEN, State.CLOSED], State.HALF_OPEN: [State.CLOSED]}
        expected: list[State] = []
        if opens:
            expected = [State.OPEN] if before is not State.OPEN else []
        elif state is not State.CLOSED:  # a probe succeeded there, or its rest was ended
            expected = [State.HALF_OPEN] if before is State.OPEN else []
        else:
            expected = path.get(before, [])
        assert [item.after for item in moved] == ([] if outdated else expected)
        if not outdated and self.breaker.state is State.HALF_OPEN and state is State.HALF_OPEN:
            assert self.breaker.probe_succeeded
        wake_at, kept = self.now + rest_s - self.settings.open_s, self.opened_at
        self._note(moved)
        if opens and not outdated:
            self.opened_at = max(kept, wake_at) if before is State.OPEN else wake_at

    @precondition(lambda self: self.breaker.state is not State.CLOSED)
    @rule()
    def mend(self) -> None:
        """Let probes succeed until it is closed: no pending result may count then."""
        self.now += self.settings.trial_s
        for _ in range(1 + self.settings.successes):
            if self.breaker.state is not State.CLOSED:
                self.ask(probe=True)
                given = self.out.pop()[0]
                before = self.breaker.state
                moved = self.breaker.succeeded(given, self.now)
                self.good_trials += before is State.HALF_OPEN
                self._note(moved)

        assert self.breaker.state is State.CLOSED

    @invariant()
    def it_counts_what_we_count(self) -> None:
        if self.breaker.state is State.CLOSED:
            assert self.breaker.failures == self.in_a_row
        if self.breaker.state is State.HALF_OPEN:
            assert self.breaker.successes == self.good_trials

    @invariant()
    def the_time_in_all_states_is_all_the_time(self) -> None:
        assert abs(sum(self.breaker.spent_s(self.now).values()) - self.now) < 1e-6

    @invariant()
    def only_an_open_one_wakes(self) -> None:
        assert (self.breaker.wake_at is not None) == (self.breaker.state is State.OPEN)


TestBreaker = Machine.TestCase
