"""Five scenarios: each breaks one language model in one way, and returns the proofs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

from fallbacks.breaker import Input, State
from fallbacks.events import AttemptFailed, BreakerMoved, ProviderProbed, RungRested
from fallbacks.failure import Kind, Severity
from lab.drill.bench import FIRST, STANDBY, Bench, QuestionOutcome, Say, open_bench

SEED: Final = 8  # of the lab's random numbers; it gives three timeouts within about seven requests
MIN_TIMEOUTS: Final = 3  # to wait for; chance decides which requests time out
CHANCE: Final = 0.4  # of each request
MAX_S: Final = 20.0  # the longest that questions are asked to get these time-outs
TRUST_S: Final = 15.0  # the longest wait for a mended rung's probe
RESTS: Final = 3
LATER_QUESTIONS: Final = 5  # questions while the breaker is open
FAST_S: Final = 0.1  # chosen: a fifteenth of the budget, and more than a busy machine delays
QUIET_S: Final = 4.0  # longer than the first two waits between probes, 1 and 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One claim of a scenario, with its measurement."""

    text: str
    holds: bool


Proofs: TypeAlias = Sequence[Proof]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario.

    Attributes:
        title: The behaviour that it shows.
        play: Runs it, and returns the proofs.
        rungs: The ladder.
        resilience: Changes to that section of the configuration.
    """

    title: str
    play: Callable[[Bench], Awaitable[Proofs]]
    rungs: Sequence[str] = (FIRST, STANDBY)
    resilience: Mapping[str, Any] = field(default_factory=dict[str, Any])


async def perform(scenario: Scenario, say: Say) -> Proofs:
    """Run a scenario with its own lab and ladder; `say` gets each event as it happens."""
    async with open_bench(
        rungs=scenario.rungs, resilience=scenario.resilience, seed=SEED, say=say
    ) as bench:
        return await scenario.play(bench)


async def _play_transient(bench: Bench) -> Proofs:
    """Let requests time out at random: every question is answered, and trust returns."""

    def timeouts() -> int:
        return sum(failure.kind is Kind.TIMEOUT for failure in bench.told.of(AttemptFailed))

    await bench.fault(fault="silent", where="handshake", p=CHANCE)
    answers: list[QuestionOutcome] = []
    until_s = bench.told.now_s + MAX_S
    while timeouts() < MIN_TIMEOUTS and bench.told.now_s < until_s:
        answers.append(await bench.ask())
        await bench.wait_until(bench.is_trusted, within_s=until_s - bench.told.now_s)
    await bench.mend()
    is_trusted = await bench.wait_until(bench.is_trusted, within_s=TRUST_S)
    last = await bench.ask()
    asked = [*answers, last]
    slowest_s = max((answer.first_word_s or 0.0 for answer in asked), default=0.0)
    return (
        Proof(
            text=f"{timeouts()} attempts at {FIRST} timed out, at random",
            holds=timeouts() >= MIN_TIMEOUTS,
        ),
        _all_answered(asked, f"; the slowest first word came after {slowest_s:.2f} s"),
        Proof(
            text=f"{FIRST} is trusted again and answered the last question",
            holds=is_trusted and last.provider == FIRST,
        ),
    )


async def _rate_limit(bench: Bench) -> Proofs:
    """Answer 429 without a duration: the rung is asked only after its rests, which grow."""
    await bench.fault(fault="http", status=429, code="slow_down")  # gives no duration
    answers: list[QuestionOutcome] = []
    for number in range(RESTS):
        answers.append(await bench.ask())
        if number:  # an answer may take as long as the first rest
            answers.append(await bench.ask())
        if number < RESTS - 1:
            await bench.wait_until(bench.is_trusted, within_s=TRUST_S)
    requests = await bench.requests()
    await bench.mend()
    await bench.wait_until(bench.is_trusted, within_s=TRUST_S)
    last = await bench.ask()
    rests_s = [event.rest_s for event in bench.told.of(RungRested)]
    has_grown = len(rests_s) == RESTS and all(a < b for a, b in pairwise(rests_s))
    return (
        Proof(
            text=f"the rests grew: {', '.join(f'{rest_s:.1f} s' for rest_s in rests_s)}",
            holds=has_grown,
        ),
        Proof(
            text=f"{len(answers)} questions made {requests} requests to {FIRST}, none in a rest",
            holds=requests == RESTS,
        ),
        _all_answered([*answers, last]),
        Proof(
            text="the rate limit did not open the breaker",
            holds=not bench.told.of(BreakerMoved),
        ),
        Proof(text=f"after the last rest {FIRST} answered again", holds=last.provider == FIRST),
    )


async def _play_breaker(bench: Bench) -> Proofs:
    """Break the only rung: two callers' failures open its breaker, then questions fail fast."""
    await bench.fault(fault="http", status=503)
    await bench.ask()
    first_requests, first_state = await bench.requests(), bench.availability.breaker.state
    await bench.ask()
    opening_requests = await bench.requests()
    later = [await bench.ask() for _ in range(LATER_QUESTIONS)]
    later_requests = await bench.requests() - opening_requests
    slowest_s = max(answer.took_s for answer in later)
    moves = _describe_moves(bench)
    has_opened_once = _breaker_moves(bench) == [(State.CLOSED, State.OPEN, Input.FAILURES)]
    await bench.mend()
    last = await bench.ask()
    return (
        Proof(
            text=f"one caller's {first_requests} failures left the breaker {first_state}",
            holds=first_state is State.CLOSED,
        ),
        Proof(
            text=f"{opening_requests - first_requests} of a second caller opened it: {moves}",
            holds=has_opened_once,
        ),
        Proof(
            text=f"{LATER_QUESTIONS} later questions failed within {1000 * slowest_s:.1f} ms each",
            holds=slowest_s < FAST_S and not any(answer.provider for answer in later),
        ),
        Proof(
            text=f"they made {later_requests} requests to {FIRST}, one each: it is the only rung",
            holds=later_requests == LATER_QUESTIONS,
        ),
        Proof(
            text=f"once mended, {last.provider or 'no rung'} answered, which closed the breaker",
            holds=last.provider == FIRST and bench.availability.breaker.state is State.CLOSED,
        ),
    )


async def _play_permanent(bench: Bench) -> Proofs:
    """Reject the key: one failure opens the breaker, and only probes follow."""
    await bench.fault(fault="http", status=401)
    answers = [await bench.ask(), await bench.ask()]
    bench.told.note(f"no questions for {QUIET_S:g} s")
    await asyncio.sleep(QUIET_S)
    requests = await bench.requests()
    failures = [failure for failure in bench.told.of(AttemptFailed) if failure.attempt]
    probes = len(bench.told.of(ProviderProbed))
    rest_s = bench.availability.breaker.settings.slow_s
    return (
        Proof(
            text=f"{requests} requests reached {FIRST} in {bench.told.now_s:.0f} s, {probes} of "
            "them probes: no retry",
            holds=requests - probes == 1 and probes > 0,
        ),
        Proof(
            text=f"it was reported {len(failures)} time, with severity "
            + ", ".join(failure.severity.upper() for failure in failures),
            holds=[(failure.permanent, failure.severity) for failure in failures]
            == [(True, Severity.HIGH)],
        ),
        Proof(
            text=f"one failure opened the breaker, for {rest_s:.0f} s: {_describe_moves(bench)}",
            holds=_breaker_moves(bench) == [(State.CLOSED, State.OPEN, Input.TRIPPED)]
            and bench.availability.retired,
        ),
        _all_answered(answers, f", by {STANDBY}"),
    )


async def _play_recovery(bench: Bench) -> Proofs:
    """Break and mend the only rung: probes half-open and then close its breaker."""

    def probes(*, ok: bool) -> int:
        return sum(probe.ok is ok for probe in bench.told.of(ProviderProbed))

    await bench.fault(fault="http", status=503)
    await bench.ask()
    while_open = await bench.ask()
    await bench.wait_until(lambda: probes(ok=False) > 0, within_s=TRUST_S)
    await bench.mend()
    await bench.wait_until(bench.is_trusted, within_s=TRUST_S)
    last = await bench.ask()
    moves, rest_s = bench.told.of(BreakerMoved), bench.availability.breaker.settings.open_s
    opened_s = next((move.after_s for move in moves if move.before == State.OPEN), 0.0)
    return (
        Proof(
            text=f"the breaker's states: {_describe_moves(bench)}",
            holds=_breaker_moves(bench)
            == [
                (State.CLOSED, State.OPEN, Input.FAILURES),
                (State.OPEN, State.HALF_OPEN, Input.PROBED),
                (State.HALF_OPEN, State.CLOSED, Input.PROVEN),
            ],
        ),
        Proof(
            text=f"a probe half-opened it after {opened_s:.1f} s, before its rest of {rest_s:g} s",
            holds=0.0 < opened_s < rest_s,
        ),
        Proof(
            text=f"{probes(ok=False)} probes failed and {probes(ok=True)} succeeded",
            holds=probes(ok=False) > 0 and probes(ok=True) > 1,
        ),
        Proof(
            text=f"no rung answered while it was open; now {last.provider or 'none'} does",
            holds=not while_open.provider and last.provider == FIRST,
        ),
    )


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "transient": Scenario(
        title="random time-outs, recovered",
        play=_play_transient,
        resilience={"probe": {"timeout_s": 1}},
    ),
    "rate-limit": Scenario(title="429, with growing rests", play=_rate_limit),
    "breaker": Scenario(
        title="3 failures open it; then only a caller without another rung tries it, once",
        play=_play_breaker,
        rungs=(FIRST,),
        resilience={"probe": {"interval_s": 0}},  # then each request is a caller's
    ),
    "permanent": Scenario(title="401: no retry, reported with severity HIGH", play=_play_permanent),
    "recovery": Scenario(
        title="OPEN -> HALF_OPEN by a probe -> CLOSED", play=_play_recovery, rungs=(FIRST,)
    ),
}


def _all_answered(answers: Sequence[QuestionOutcome], more: str = "") -> Proof:
    """Return the proof that all questions got a first word."""
    count = sum(answer.first_word_s is not None for answer in answers)
    return Proof(
        text=f"{count} of {len(answers)} questions were answered{more}",
        holds=count == len(answers),
    )


def _breaker_moves(bench: Bench) -> list[tuple[str, str, str]]:
    return [(move.before, move.after, move.cause) for move in bench.told.of(BreakerMoved)]


def _describe_moves(bench: Bench) -> str:
    moves = bench.told.of(BreakerMoved)
    states = [move.before.upper() for move in moves[:1]] + [move.after.upper() for move in moves]
    return " -> ".join(states) or "it did not move"
