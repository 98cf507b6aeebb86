"""`holdline drill --scenario`: prints a scenario's events as they happen, then its proofs."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from calls.campaign_events import (
    CampaignHeld,
    CampaignResumed,
    ContactSkipped,
    DialEnded,
    DialPlaced,
)
from calls.events import Event
from configuration.errors import nearest
from fallbacks.events import (
    AnswerEmpty,
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    BreakerMoved,
    HedgeStarted,
    LimitReached,
    ProviderProbed,
    ProviderReset,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    RungFollowed,
    RungRested,
    StageExhausted,
    Suspected,
    SuspicionCleared,
    WordsTimed,
    WordTimesRejected,
)
from lab.drill.bench import Say
from lab.drill.scenarios import SCENARIOS, Proofs, Scenario, perform
from runtime.exits import DONE, FAILED, UsageError


def tell_on(console: Console, at_s: float, what: Event | str) -> None:
    """Print an event, or a step of the scenario, as one line.

    Args:
        console: The output.
        at_s: Seconds since the scenario's start.
        what: An event, or a text, which is printed after two dashes.
    """
    line = f"-- {what}" if isinstance(what, str) else _event_line(what)
    console.print(f"{at_s:7.2f} s  {line}", markup=False, soft_wrap=True)


def _event_line(event: Event) -> str:
    """Return an event as a line: its name, the rung, and what it means."""
    place = f"{getattr(event, 'stage', '')} {getattr(event, 'provider', '')}".strip()
    return f"{type(event).__name__:<16} {place:<14} {meaning(event)}".rstrip()


def meaning(event: Event) -> str:
    """Return what an event means; empty for events that a scenario does not explain."""
    words = MEANINGS.get(type(event))
    return words(event) if words else ""


def _describe_start(event: AttemptStarted) -> str:
    return f"{'asked as well' if event.extra else 'asked'}, {event.left_s:.1f} s left"


def _describe_failure(event: AttemptFailed) -> str:
    lasting = "permanent" if event.permanent else "transient"
    reason = f" ({event.reason})" if event.reason else ""
    verdict = f"{lasting}, severity {event.severity.upper()}"
    return f"{event.kind} after {event.after_s:.2f} s{reason}: {verdict}"


def _describe_limit(event: LimitReached) -> str:
    then = "and it is asked now" if event.asked else "so the next rung is asked"
    return f"no place was free for {event.waited_s:.2f} s, {then}; this is not a failure"


def _describe_breaker(event: BreakerMoved) -> str:
    moved = f"{event.before.upper()} -> {event.after.upper()}"
    return f"{moved} (cause: {event.cause}) after {event.after_s:.1f} s"


def _describe_probe(event: ProviderProbed) -> str:
    kind = "a real request" if event.real else "a cheap request"
    outcome = "succeeded" if event.ok else f"failed ({event.error})"
    return f"{kind}, with no caller waiting, {outcome} after {event.took_s:.2f} s"


MEANINGS: Final[Mapping[type, Callable[[Any], str]]] = {
    AttemptStarted: _describe_start,
    AttemptFailed: _describe_failure,
    AttemptWon: lambda e: f"gave its first words after {e.after_s:.2f} s; its answer is used",
    AttemptDropped: lambda e: f"cancelled ({e.because}); does not count",
    HedgeStarted: lambda e: f"asked as well, {e.after_s:.2f} s after {e.behind}; both will bill",
    LimitReached: _describe_limit,
    RungChosen: lambda e: f"{e.after} takes over from {e.before}",
    StageExhausted: lambda e: f"no rung is left, after {e.attempts} attempts",
    WordsTimed: lambda e: (
        f"times of {e.reported} words{' heard' if e.heard else ''} reported, "
        f"{e.aligned} found, {e.estimated} estimated"
    ),
    WordTimesRejected: lambda e: f"{e.provider}'s word times are {e.drift_s:.1f} s off its sound",
    AnswerEmpty: lambda e: "an answer without a word; not the provider's fault",
    BreakerMoved: _describe_breaker,
    Suspected: lambda e: f"{e.kind}: a standby is asked first until this rung has succeeded again",
    SuspicionCleared: lambda e: f"trusted again after {e.after_s:.1f} s",
    RungFollowed: lambda e: f"is {e.breaker} here, too, as another process has reported",
    RungRested: lambda e: f"is rate-limited: it rests for {e.rest_s:.1f} s",
    ProviderProbed: _describe_probe,
    RetryPlanned: lambda e: f"{e.kind}: retry {e.retry} in {e.wait_s:.1f} s, outside any call",
    RetriesExhausted: lambda e: f"{e.kind}: given up after {e.tries} tries",
    CampaignHeld: lambda e: f"no calls are placed: {e.reason}; operators are notified, once",
    CampaignResumed: lambda e: f"resumes by itself, after {e.held_s:.1f} s",
    ContactSkipped: lambda e: f"{e.dial_id}: put back in favour of the next one: {e.reason}",
    DialPlaced: lambda e: f"{e.dial_id}: the carrier is calling",
    DialEnded: lambda e: f"{e.dial_id}: {e.outcome}{', ' + e.reason if e.reason else ''}",
    ProviderReset: lambda _: "may be tried again at once",
}
"""The meaning of each event that a scenario explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A scenario to show.

    Attributes:
        title: The behaviour that it shows.
        play: Runs it, reports each event, and returns the proofs.
    """

    title: str
    play: Callable[[Say], Awaitable[Proofs]]


async def _play_outage(say: Say) -> Proofs:
    from lab.drill.outage_scenario import play_outage  # noqa: PLC0415 - loads a server; the help does not

    return await play_outage(say)


DEMONSTRATIONS: Final[Mapping[str, Demonstration]] = {
    name: Demonstration(title=scenario.title, play=functools.partial(perform, scenario))
    for name, scenario in SCENARIOS.items()
} | {
    "elevenlabs-503": Demonstration(
        title="a campaign while its voice is down, with a standby and without", play=_play_outage
    )
}


def scenario_named(name: str) -> Demonstration:
    """Return a scenario.

    Raises:
        UsageError: There is no such scenario; the message suggests the nearest name.
    """
    if name in DEMONSTRATIONS:
        return DEMONSTRATIONS[name]
    close = nearest(name, DEMONSTRATIONS)
    guess = f'did you mean "{close}"? ' if close else ""
    raise UsageError(f'--scenario is "{name}"; {guess}({", ".join(DEMONSTRATIONS)})')


async def demonstrate(
    name: str, scenario: Scenario | Demonstration, *, out: Path | None = None
) -> int:
    """Run a scenario, print it, and write the output to the folder `out`, if given.

    Returns:
        0, or 1 if a proof failed.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True, record=True)
    try:
        return await _show_scenario(name, scenario, console)
    finally:
        if out:
            written = functools.partial(console.save_text, str(out / f"{name}.txt"))
            await asyncio.to_thread(written)


async def _show_scenario(name: str, scenario: Scenario | Demonstration, console: Console) -> int:
    """Run a scenario, print its events and proofs, and return the exit code."""
    console.print(f"{name}: {scenario.title}")
    say = functools.partial(tell_on, console)
    if isinstance(scenario, Demonstration):
        proofs = await scenario.play(say)
    else:
        proofs = await perform(scenario, say)
    for proof in proofs:
        console.print(f"{'proved' if proof.holds else 'NOT PROVED'}: {proof.text}")
    return DONE if all(proof.holds for proof in proofs) else FAILED
