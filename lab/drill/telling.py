"""Describes a ladder's event in a few words on one line."""

from collections.abc import Callable, Mapping
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
from fallbacks.facts import (
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
)


def tell_on(console: Console, at_s: float, what: Event | str) -> None:
    """Print an event, or a step of the scenario, as one line.

    Args:
        console: The output.
        at_s: Seconds since the scenario's start.
        what: An event; a text is set apart from those.
    """
    line = f"-- {what}" if isinstance(what, str) else _line(what)
    console.print(f"{at_s:7.2f} s  {line}", markup=False, soft_wrap=True)


def _line(event: Event) -> str:
    place = f"{getattr(event, 'stage', '')} {getattr(event, 'provider', '')}".strip()
    return f"{type(event).__name__:<16} {place:<14} {meaning(event)}".rstrip()


def meaning(event: Event) -> str:
    """Return an event's meaning for a viewer; empty for events of other parts."""
    words = MEANINGS.get(type(event))
    return words(event) if words else ""


def _started(event: AttemptStarted) -> str:
    return f"{'asked as well' if event.extra else 'asked'}, {event.left_s:.1f} s left"


def _failed(event: AttemptFailed) -> str:
    lasting = "permanent" if event.permanent else "transient"
    reason = f" ({event.reason})" if event.reason else ""
    verdict = f"{lasting}, severity {event.severity.upper()}"
    return f"{event.kind} after {event.after_s:.2f} s{reason}: {verdict}"


def _limited(event: LimitReached) -> str:
    then = "and is asked now" if event.asked else "so the next one is asked"
    return f"no place was free for {event.waited_s:.2f} s, {then}; this is no failure"


def _moved(event: BreakerMoved) -> str:
    moved = f"{event.before.upper()} -> {event.after.upper()}"
    return f"{moved} (cause: {event.cause}) after {event.after_s:.1f} s"


def _probed(event: ProviderProbed) -> str:
    kind = "a request of the real kind" if event.real else "a cheap question"
    outcome = "did well" if event.ok else f"failed ({event.error})"
    return f"{kind}, with no caller waiting, {outcome}, in {event.took_s:.2f} s"


MEANINGS: Final[Mapping[type, Callable[[Any], str]]] = {
    AttemptStarted: _started,
    AttemptFailed: _failed,
    AttemptWon: lambda e: f"gave its first words after {e.after_s:.2f} s, and is heard from here",
    AttemptDropped: lambda e: f"called off ({e.because}); counts as nothing",
    HedgeStarted: lambda e: f"asked as well, {e.after_s:.2f} s behind {e.behind}; both will bill",
    LimitReached: _limited,
    RungChosen: lambda e: f"{e.after} takes over from {e.before}",
    StageExhausted: lambda e: f"no rung is left, after {e.attempts} attempts",
    AnswerEmpty: lambda e: "an answer without a word; no provider is at fault",
    BreakerMoved: _moved,
    Suspected: lambda e: f"{e.kind}: a standby is asked first until it has done well again",
    SuspicionCleared: lambda e: f"trusted again after {e.after_s:.1f} s",
    RungFollowed: lambda e: f"is {e.breaker} here, too: another process has found it so",
    RungRested: lambda e: f"has had enough of us: is left alone for {e.rest_s:.1f} s",
    ProviderProbed: _probed,
    RetryPlanned: lambda e: f"{e.kind}: retry {e.retry} in {e.wait_s:.1f} s, outside any call",
    RetriesExhausted: lambda e: f"{e.kind}: given up after {e.tries} tries",
    CampaignHeld: lambda e: f"no calls are placed: {e.reason}; operators are notified, once",
    CampaignResumed: lambda e: f"goes on by itself, after {e.held_s:.1f} s",
    ContactSkipped: lambda e: f"{e.dial_id}: put back, the next one: {e.reason}",
    DialPlaced: lambda e: f"{e.dial_id}: the carrier calls",
    DialEnded: lambda e: f"{e.dial_id}: {e.outcome}{', ' + e.reason if e.reason else ''}",
    ProviderReset: lambda _: "may be tried at once, on an operator's word",
}
"""The meaning of each of a ladder's events."""
