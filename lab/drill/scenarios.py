"""Five scenarios: each breaks one language model in one way, and returns the proofs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

from fallbacks.breaker import Input, State
from fallbacks.events import AttemptFailed, BreakerMoved, ProviderProbed, RungRested
from fallbacks.failure import Kind, Severity
from lab.drill.bench import FIRST, STANDBY, Bench, QuestionOutcome, Say, bench

SEED: Final = 8  # of the lab's random numbers; it gives three timeouts within about seven requests
TIME_OUTS: Final = 3  # to wait for; chance decides which requests time out
CHANCE: Final = 0.4  # of each request
MAX_S: Final = 20.0  # the longest that questions are asked to get these time-outs
TRUST_S: Final = 15.0  # the longest wait for a mended rung's probe
RESTS: Final = 3
LATER: Final = 5  # questions while the breaker is open
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
    async with bench(
        rungs=scenario.rungs, resilience=scenario.resilience, seed=SEED, say=say
    ) as stage:
        return await scenario.play(stage)


async def _transient(stage: Bench) -> Proofs:
    def timed_out() -> int:

        return sum(failure.kind is Kind.TIMEOUT for failure in stage.told.of(AttemptFailed))

    await stage.fault(fault="silent", where="handshake", p=CHANCE)
    answers: list[QuestionOutcome] = []
    until_s = stage.told.now_s + MAX_S
    while timed_out() < TIME_OUTS and stage.told.now_s < until_s:
        answers.append(await stage.ask())
        await stage.until(stage.trusted, within_s=until_s - stage.told.now_s)
    await stage.mend()
    trusted = await stage.until(stage.trusted, within_s=TRUST_S)
    last = await stage.ask()
    asked = [*answers, last]
    slowest_s = max((answer.first_word_s or 0.0 for answer in asked), default=0.0)
    return (
        Proof(
            text=f"{timed_out()} attempts at {FIRST} timed out, at random",
            holds=timed_out() >= TIME_OUTS,
        ),
        _all_answered(asked, f"; the slowest first word came after {slowest_s:.2f} s"),
        Proof(
            text=f"{FIRST} is trusted again and answered the last question",
            holds=trusted and last.provider == FIRST,
        ),
    )


async def _rate_limit(stage: Bench) -> Proofs:
    await stage.fault(fault="http", status=429, code="slow_down")  # gives no duration
    answers: list[QuestionOutcome] = []
    for number in range(RESTS):
        answers.append(await stage.ask())
        if number:  # an answer may take as long as the first rest
            answers.append(await stage.ask())
        if number < RESTS - 1:
            await stage.until(stage.trusted, within_s=TRUST_S)
    requests = await stage.requests()
    await stage.mend()
    await stage.until(stage.trusted, within_s=TRUST_S)
    last = await stage.ask()
    rests_s = [event.rest_s for event in stage.told.of(RungRested)]
    grew = len(rests_s) == RESTS and all(a < b for a, b in pairwise(rests_s))
    return (
        Proof(
            text=f"the rests grew: {', '.join(f'{rest_s:.1f} s' for rest_s in rests_s)}", holds=grew
        ),
        Proof(
            text=f"{len(answers)} questions made {requests} requests to {FIRST}, none in a rest",
            holds=requests == RESTS,
        ),
        _all_answered([*answers, last]),
        Proof(
            text="the rate limit did not open the breaker",
            holds=not stage.told.of(BreakerMoved),
        ),
        Proof(text=f"after the last rest {FIRST} answered again", holds=last.provider == FIRST),
    )


async def _breaker(stage: Bench) -> Proofs:
    await stage.fault(fault="http", status=503)
    await stage.ask()
    opening = await stage.requests()
    later = [await stage.ask() for _ in range(LATER)]
    touched = await stage.requests() - opening
    slowest_s = max(answer.took_s for answer in later)
    opened = _describe_moves(stage)
    opens = _transitions(stage) == [(State.CLOSED, State.OPEN, Input.FAILURES)]
    await stage.mend()
    last = await stage.ask()
    return (
        Proof(
            text=f"{opening} failures in a row opened the breaker: {opened}",
            holds=opening == stage.availability.breaker.settings.failures and opens,
        ),
        Proof(
            text=f"{LATER} later questions failed within {1000 * slowest_s:.1f} ms each",
            holds=slowest_s < FAST_S and not any(answer.provider for answer in later),
        ),
        Proof(
            text=f"they made {touched} requests to {FIRST}, one each: it is the only rung",
            holds=touched == LATER,
        ),
        Proof(
            text=f"once mended, {last.provider or 'no rung'} answered, which closed the breaker",
            holds=last.provider == FIRST and stage.availability.breaker.state is State.CLOSED,
        ),
    )


async def _permanent(stage: Bench) -> Proofs:
    await stage.fault(fault="http", status=401)
    answers = [await stage.ask(), await stage.ask()]
    stage.told.note(f"no questions for {QUIET_S:g} s")
    await asyncio.sleep(QUIET_S)
    requests = await stage.requests()
    failures = [failure for failure in stage.told.of(AttemptFailed) if failure.attempt]
    probes = len(stage.told.of(ProviderProbed))
    rest_s = stage.availability.breaker.settings.slow_s
    return (
        Proof(
            text=f"{requests} requests reached {FIRST} in {stage.told.now_s:.0f} s, {probes} of "
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
            text=f"one failure opened the breaker, for {rest_s:.0f} s: {_describe_moves(stage)}",
            holds=_transitions(stage) == [(State.CLOSED, State.OPEN, Input.TRIPPED)]
            and stage.availability.retired,
        ),
        _all_answered(answers, f", by {STANDBY}"),
    )


async def _recovery(stage: Bench) -> Proofs:
    def probes(*, ok: bool) -> int:
        return sum(probe.ok is ok for probe in stage.told.of(ProviderProbed))

    await stage.fault(fault="http", status=503)
    await stage.ask()
    while_open = await stage.ask()
    await stage.until(lambda: probes(ok=False) > 0, within_s=TRUST_S)
    await stage.mend()
    await stage.until(stage.trusted, within_s=TRUST_S)
    last = await stage.ask()
    moves, rest_s = stage.told.of(BreakerMoved), stage.availability.breaker.settings.open_s
    opened_s = next((move.after_s for move in moves if move.before == State.OPEN), 0.0)
    return (
        Proof(
            text=f"the breaker's states: {_describe_moves(stage)}",
            holds=_transitions(stage)
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
        play=_transient,
        resilience={"probe": {"timeout_s": 1}},
    ),
    "rate-limit": Scenario(title="429, with growing rests", play=_rate_limit),
    "breaker": Scenario(
        title="3 failures open it; then only a caller without another rung tries it, once",
        play=_breaker,
        rungs=(FIRST,),
        resilience={"probe": {"interval_s": 0}},  # then each request is a caller's
    ),
    "permanent": Scenario(title="401: no retry, reported with severity HIGH", play=_permanent),
    "recovery": Scenario(
        title="OPEN -> HALF_OPEN by a probe -> CLOSED", play=_recovery, rungs=(FIRST,)
    ),
}


def _all_answered(answers: Sequence[QuestionOutcome], more: str = "") -> Proof:
    count = sum(answer.first_word_s is not None for answer in answers)
    return Proof(
        text=f"{count} of {len(answers)} questions were answered{more}",
        holds=count == len(answers),
    )


def _transitions(stage: Bench) -> list[tuple[str, str, str]]:
    return [(move.before, move.after, move.cause) for move in stage.told.of(BreakerMoved)]


def _describe_moves(stage: Bench) -> str:
    moves = stage.told.of(BreakerMoved)
    states = [move.before.upper() for move in moves[:1]] + [move.after.upper() for move in moves]
    return " -> ".join(states) or "it did not move"
