"""The interface of alert channels, and the texts of alerts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from calls.sentences import STAGES, cure_of, headline, sentence
from operations.masking import printable
from operations.moments import for_people, iso
from operations.notify.alert import COUNTED, REPLACED, UNHEARD, Alert
from operations.notify.alert_outbox import ChannelPost


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertText:
    """An alert in words, one line each, without secrets."""

    title: str
    lines: tuple[str, ...]

    @property
    def whole(self) -> str:
        """Return the message for a channel without titles."""
        return "\n".join((self.title, *self.lines))


def alert_text(alert: Alert) -> AlertText:
    """Return an alert's text for people."""
    is_open = alert.ended_s is None
    state = alert.severity.upper() if is_open else "RESOLVED"
    has_returned = alert.open_s > alert.began_s
    again = f", again; the first time at {for_people(alert.began_s)}" if has_returned else ""
    what = headline(alert.stage, alert.rung, alert.kind, alert.reason)
    lines = [f"Since {for_people(alert.open_s)}{again}."]
    if alert.reason not in what:
        lines.append(sentence(alert.reason))
    if is_open and alert.then:
        lines.append(sentence(alert.then))
    if is_open and cure_of(alert.kind, alert.reason):
        lines.append(sentence(cure_of(alert.kind, alert.reason)))
    lines += _line_if("Also down", ", ".join(STAGES.get(stage, stage) for stage in alert.beside))
    if is_open:
        lines += _hurt_lines(alert, " so far.")
    lines += _line_if("Seen by", alert.seen_by)
    lines += _end_lines(alert)
    lines.append(f"[{alert.key}]")
    return AlertText(
        title=printable(f"{state}: {what}"), lines=tuple(printable(line) for line in lines)
    )


def alert_as_json(alert: Alert) -> dict[str, Any]:
    """Return an alert as JSON values: texts masked, moments in ISO 8601; `None` if not ended."""
    return {
        "key": alert.key,
        "revision": alert.revision,
        "status": "open" if alert.ended_s is None else "resolved",
        "severity": alert.severity.upper(),
        "stage": alert.stage,
        "provider": alert.rung,
        "kind": alert.kind,
        "title": alert_text(alert).title,
        "reason": printable(alert.reason),
        "instead": printable(alert.then),
        "cure": cure_of(alert.kind, alert.reason),
        "began_at": iso(alert.open_s, "seconds"),
        "first_at": iso(alert.began_s, "seconds"),
        "resolved_at": iso(alert.ended_s, "seconds") or None,
        "resolved_how": printable(alert.how),
        "lasted_s": alert.lasted_s if alert.ended_s is not None else None,
        "callers_hurt": alert.callers if alert.stage in COUNTED else None,
        "escalated": alert.escalated,
        "seen_by": printable(alert.seen_by),
    }


def _line_if(name: str, what: str) -> list[str]:
    return [f"{name}: {what}"] if what else []


def _end_lines(alert: Alert) -> list[str]:
    """Return when and how an alert ended, as at most one line; none while it is open."""
    if alert.ended_s is None:
        return []
    how = ENDED_HOW.get(alert.how, alert.how)
    over = f"Over at {for_people(alert.ended_s)} after {alert.lasted_s:g} s ({how})."
    return [" ".join([over, *_hurt_lines(alert, ".")])]


ENDED_HOW: Final = {
    UNHEARD: "no process has reported it for a while",
    REPLACED: "the processes that reported it were replaced",
}


def _hurt_lines(alert: Alert, end: str) -> list[str]:
    """Return the line with the number of hurt callers; none if such failures hurt no callers."""
    plural = "" if alert.callers == 1 else "s"
    return [f"{alert.callers} caller{plural} got no answer{end}"] if alert.stage in COUNTED else []


POST_S: Final = 10.0  # for one request, from connecting to the end of its answer (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way to notify operators.

    Attributes:
        name: Its name in the outbox and in the log.
        edits: Whether it can update a sent message.
        place: Its destination for people, without secrets.
        post: Sends or updates a message, and returns the id for later updates; raises
            `RemoteError`.
    """

    name: str
    edits: bool
    place: str
    post: Callable[[ChannelPost, AlertText], Awaitable[str]]
