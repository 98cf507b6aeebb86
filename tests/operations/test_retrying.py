"""Retries of work outside a turn, on the tests' own clock."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from calls.events import Event
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings, State
from fallbacks.events import (
    AttemptFailed,
    BreakerMoved,
    RetriesExhausted,
    RetryPlanned,
    StageExhausted,
    SuspicionCleared,
)
from fallbacks.failure import (
    Failure,
    Finding,
    Kind,
    PermanentError,
    Scope,
    ServiceError,
    Severity,
    TransientError,
    error_of,
    failed,
    finding,
)
from fallbacks.retrying import RetrySettings
from operations.retrying import Retries, run_down_ladder, run_with_retries

pytestmark = pytest.mark.virtual_time

CRM = ("crm", "hubspot")
OTHER = ("crm", "spare")


def went_wrong(kind: Kind = Kind.NETWORK, *, retry_after_s: float | None = None) -> Failure:
    return failed(kind, *CRM[:1], provider=CRM[1], reason="gone", retry_after_s=retry_after_s)


class ClientError(Exception):
    """An exception of a client library."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Bench:
    """A provider that fails as it is told, and a clock that does not wait."""

    def __init__(
        self,
        *failures: Failure,
        settings: RetrySettings | None = None,
        breaker: BreakerSettings | None = None,
    ) -> None:
        self.now = 1000.0
        self.asked_at: list[float] = []
        self.waits: list[float] = []
        self.told: list[Event] = []
        self._failures = list(failures)
        places = [
            Place(stage=stage, provider=name, credential="one") for stage, name in (CRM, OTHER)
        ]
        self.availability = AvailabilityTable(places, now=self.now, settings=breaker)
        self.retries = Retries(
            settings=settings or RetrySettings(),
            emit=self.told.append,
            availability=self.availability,
            sleep=self.sleep,
            chance=lambda: 0.5,
            clock=lambda: self.now,
        )

    @property
    def breaker(self) -> State:
        return self.availability.of(*CRM).breaker.state

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.now += wait_s

    async def work(self) -> str:
        self.asked_at.append(self.now)
        if self._failures:
            raise ClientError(self._failures.pop(0))
        return "done"

    async def run(self) -> str:
        return await run_with_retries(
            self.work, asked=CRM, classify=failure_of, retries=self.retries
        )

    def facts(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.told if isinstance(event, kinds)]


def failure_of(error: Exception) -> Failure | None:
    return error.failure if isinstance(error, ClientError) else None


def names(facts: Sequence[Event]) -> list[str]:
    return [type(fact).__name__ for fact in facts]


async def test_a_request_that_succeeds_is_made_once_and_emits_no_event() -> None:
    bench = Bench()

    assert await bench.run() == "done"
    assert bench.asked_at == [1000.0]
    assert bench.told == []


async def test_a_failing_provider_is_asked_again_after_five_ten_and_twenty_seconds() -> None:
    bench = Bench(went_wrong(), went_wrong(), went_wrong())

    assert await bench.run() == "done"
    assert bench.waits == [5.0, 10.0, 20.0]
    planned = bench.facts(RetryPlanned)
    assert [
        (fact.retry, fact.wait_s, fact.kind) for fact in planned if isinstance(fact, RetryPlanned)
    ] == [(1, 5.0, Kind.NETWORK), (2, 10.0, Kind.NETWORK), (3, 20.0, Kind.NETWORK)]


async def test_a_sequence_that_is_exhausted_opens_the_breaker_at_once() -> None:
    bench = Bench(*[went_wrong()] * 4)

    with pytest.raises(TransientError) as given_up:
        await bench.run()

    assert given_up.value.failure == went_wrong()
    assert isinstance(given_up.value.__cause__, ClientError)
    assert len(bench.asked_at) == 4
    assert bench.breaker is State.OPEN
    assert names(bench.told) == [
        *["AttemptFailed", "RetryPlanned"] * 3,
        *["AttemptFailed", "BreakerMoved", "RetriesExhausted"],
    ]
    (exhausted,) = bench.facts(RetriesExhausted)
    assert exhausted == RetriesExhausted(
        stage="crm", provider="hubspot", kind=Kind.NETWORK, tries=4
    )
    (moved,) = bench.facts(BreakerMoved)
    assert isinstance(moved, BreakerMoved)
    assert (moved.after, moved.cause) == ("open", "tripped")


async def test_retries_inside_a_sequence_do_not_count_towards_the_breakers_three() -> None:
    bench = Bench(went_wrong(), went_wrong(), went_wrong())
    health = bench.availability.of(*CRM)

    async def work() -> str:
        assert health.breaker.failures == 0
        return await bench.work()

    await run_with_retries(work, asked=CRM, classify=failure_of, retries=bench.retries)

    assert bench.breaker is State.CLOSED
    assert health.suspect_since is None


async def test_a_permanent_failure_is_not_retried_and_takes_out_rungs_with_the_same_key() -> None:
    bench = Bench(went_wrong(Kind.AUTH))

    with pytest.raises(PermanentError):
        await bench.run()

    assert bench.waits == []
    assert bench.breaker is State.OPEN
    assert bench.availability.of(*OTHER).retired
    assert bench.facts(RetryPlanned, RetriesExhausted) == []
    (attempt,) = bench.facts(AttemptFailed)
    assert isinstance(attempt, AttemptFailed)
    assert attempt.severity is Severity.HIGH


async def test_the_wait_that_a_provider_asks_for_is_kept() -> None:
    bench = Bench(went_wrong(Kind.RATE_LIMITED, retry_after_s=42.0))

    await bench.run()

    assert bench.waits == [42.0]


async def test_a_provider_whose_breaker_is_open_is_not_asked() -> None:
    bench = Bench()
    bench.availability.of(*CRM).breaker.trip(bench.now)

    with pytest.raises(TransientError, match="open breaker"):
        await bench.run()

    assert bench.asked_at == []
    assert bench.told == []


async def test_a_breaker_that_opens_while_it_waits_ends_the_sequence() -> None:
    bench = Bench(went_wrong(), went_wrong())

    async def opened_meanwhile(_: float) -> None:
        bench.availability.of(*CRM).breaker.trip(bench.now)

    retries = Retries(
        settings=RetrySettings(),
        emit=bench.told.append,
        availability=bench.availability,
        sleep=opened_meanwhile,
        clock=lambda: bench.now,
    )

    with pytest.raises(TransientError, match="open breaker"):
        await run_with_retries(bench.work, asked=CRM, classify=failure_of, retries=retries)

    assert len(bench.asked_at) == 1


async def test_without_probes_a_whole_sequence_is_the_one_trial() -> None:
    bench = Bench(*[went_wrong()] * 4, breaker=BreakerSettings(probing=False))
    health = bench.availability.of(*CRM)
    health.breaker.trip(bench.now)
    bench.now += 31.0
    health.breaker.tick(bench.now)
    assert bench.breaker is State.HALF_OPEN

    with pytest.raises(TransientError):
        await bench.run()

    assert len(bench.asked_at) == 4
    assert bench.breaker is State.OPEN


async def test_a_success_clears_the_suspicion_of_the_provider() -> None:
    bench = Bench()
    health = bench.availability.of(*CRM)
    permit = health.permit(bench.now)
    assert permit is not None
    health.failed(permit, went_wrong(), now=bench.now)

    await bench.run()

    assert health.suspect_since is None
    assert names(bench.told) == [SuspicionCleared.__name__]


async def test_a_bad_request_does_not_count_against_the_provider() -> None:
    bad = replace(went_wrong(Kind.PROTOCOL), scope=Scope.PAYLOAD)
    bench = Bench(*[bad] * 4)

    with pytest.raises(TransientError):
        await bench.run()

    assert len(bench.asked_at) == 4
    assert bench.breaker is State.CLOSED


async def test_our_own_exception_is_raised_unchanged() -> None:
    bench = Bench()

    async def work() -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await run_with_retries(work, asked=CRM, classify=failure_of, retries=bench.retries)

    assert bench.waits == []
    assert bench.told == []


async def test_retries_work_without_a_roster() -> None:
    bench = Bench(*[went_wrong()] * 4)
    retries = Retries(
        settings=RetrySettings(), emit=bench.told.append, sleep=bench.sleep, chance=lambda: 0.5
    )

    with pytest.raises(TransientError):
        await run_with_retries(bench.work, asked=CRM, classify=failure_of, retries=retries)

    assert bench.waits == [5.0, 10.0, 20.0]
    assert bench.breaker is State.CLOSED


@pytest.mark.parametrize("when", ["waiting", "working"])
async def test_a_cancelled_sequence_leaves_the_state_unchanged(when: str) -> None:
    bench = Bench(*[went_wrong()] * 4)
    reached = asyncio.Event()

    async def forever() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def sleep(_: float) -> None:
        if when == "waiting":
            await forever()

    async def work() -> str:
        if len(bench.asked_at) == 1:
            await forever()
        return await bench.work()

    retries = Retries(
        settings=RetrySettings(),
        emit=bench.told.append,
        availability=bench.availability,
        sleep=sleep,
        clock=lambda: bench.now,
    )
    running = asyncio.ensure_future(
        run_with_retries(work, asked=CRM, classify=failure_of, retries=retries)
    )
    await reached.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.breaker is State.CLOSED
    assert bench.facts(RetriesExhausted) == []
    assert len(bench.asked_at) == 1


UNREADABLE = finding(Kind.BAD_REQUEST, Scope.PAYLOAD, permanent=True)
REFUSED = finding(Kind.BAD_REQUEST, Scope.REQUEST)
UNKNOWN = finding(Kind.NOT_FOUND, Scope.CONFIGURATION)


@pytest.mark.parametrize(
    ("first", "second", "raised", "outages"),
    [
        (UNREADABLE, UNREADABLE, Scope.PAYLOAD, 0),
        (UNREADABLE, REFUSED, Scope.REQUEST, 0),
        (UNKNOWN, UNREADABLE, Scope.CONFIGURATION, 1),
        (UNREADABLE, UNKNOWN, Scope.CONFIGURATION, 1),
        (UNKNOWN, UNKNOWN, Scope.CONFIGURATION, 1),
    ],
    ids=["unreadable", "refused", "one is out", "the other is out", "both are out"],
)
async def test_only_failures_that_other_requests_would_have_are_an_outage(
    first: Finding, second: Finding, raised: Scope, outages: int
) -> None:
    bench = Bench()

    async def fail(name: str, found: Finding) -> str:
        raise error_of(failed(found, CRM[0], provider=name))

    works = {CRM[1]: partial(fail, CRM[1], first), OTHER[1]: partial(fail, OTHER[1], second)}
    with pytest.raises(ServiceError) as error:
        await run_down_ladder(works, stage=CRM[0], retries=bench.retries)

    assert error.value.failure.scope is raised
    assert len(bench.facts(StageExhausted)) == outages
