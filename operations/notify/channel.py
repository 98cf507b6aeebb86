"""The interface of alert channels, the texts of alerts, and the channels' errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import aiohttp

from fallbacks.failure import Failure, Kind, ServiceError, failed
from operations.masking import printable
from operations.notify.alert import CHANNELS, NOT_SERVED, UNHEARD, WHOLE_CALL, Alert
from operations.notify.outbox import ChannelPost


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertText:
    """An alert in words, one line each, without secrets."""

    title: str
    lines: tuple[str, ...]

    @property
    def whole(self) -> str:
        """Return the message for a channel without titles."""
        return "\n".join((self.title, *self.lines))


def masked(text: str) -> str:
    """Return a text masked for the log."""
    return printable(text)


def alert_text(alert: Alert) -> AlertText:
    """Return the text for people."""
    state = "RESOLVED" if alert.ended_s is not None else alert.severity.upper()
    again = ", again" if alert.open_s > alert.began_s else ""
    lines = [
        f"Since {moment(alert.began_s)}{again}.",
        *_said("Reason", alert.reason),
        *_said("Instead", alert.then),
        *_said("Also down", ", ".join(alert.beside)),
        *([f"Turns touched so far: {alert.turns_touched}."] if alert.ended_s is None else []),
        *_said("Seen by", alert.seen_by),
        *_ended(alert),
        f"[{alert.key}]",
    ]
    return AlertText(
        title=masked(f"{state}: {_what(alert)}"), lines=tuple(masked(line) for line in lines)
    )


def as_json(alert: Alert) -> dict[str, Any]:
    """Return the alert as data for a program."""
    return {
        "key": alert.key,
        "revision": alert.revision,
        "status": "open" if alert.ended_s is None else "resolved",
        "severity": alert.severity.upper(),
        "stage": alert.stage,
        "provider": alert.rung,
        "kind": alert.kind,
        "title": alert_text(alert).title,
        "reason": masked(alert.reason),
        "instead": masked(alert.then),
        "began_at": moment(alert.began_s),
        "resolved_at": None if alert.ended_s is None else moment(alert.ended_s),
        "resolved_how": masked(alert.how),
        "lasted_s": alert.lasted_s if alert.ended_s is not None else None,
        "turns_touched": alert.turns_touched,
        "escalated": alert.escalated,
        "seen_by": masked(alert.seen_by),
    }


def moment(at_s: float) -> str:
    """Return a moment for people, in UTC."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _what(alert: Alert) -> str:
    kind = alert.kind.replace("_", " ")
    match alert.stage:
        case _ if alert.kind == NOT_SERVED and alert.stage == WHOLE_CALL:
            return "a call could not be served"
        case _ if alert.stage == CHANNELS:
            return f"alerts by {alert.rung} fail: {kind}"
        case _ if alert.whole_stage:
            return f"{alert.stage.upper()} is down: {kind}"
        case _:
            return f"{alert.stage.upper()} {alert.rung}: {kind}".replace("  ", " ")


def _said(name: str, what: str) -> list[str]:
    return [f"{name}: {what}"] if what else []


def _ended(alert: Alert) -> list[str]:
    if alert.ended_s is None:
        return []
    how = "no process has reported it for a while" if alert.how == UNHEARD else alert.how
    turns = alert.turns_touched
    touched = f"It touched {turns} turn{'' if turns == 1 else 's'}."
    return [f"Over at {moment(alert.ended_s)} after {alert.lasted_s:g} s ({how}). {touched}"]


POST_S: Final = 10.0  # chosen: for one request, from connecting to its answer


class Channel(Protocol):
    """A way to notify operators."""

    @property
    def name(self) -> str:
        """Its name in the outbox and in the log."""
        ...

    @property
    def edits(self) -> bool:
        """Whether it can update a sent message."""
        ...

    @property
    def place(self) -> str:
        """Its destination for people, without secrets."""
        ...

    async def post(self, post: ChannelPost, text: AlertText) -> str:
        """Send or update a message; return the id for later updates.

        Raises:
            ChannelError: The other side refused, or did not answer.
        """
        ...


class ChannelError(Exception):
    """A channel's failure, without an address or a key.

    Attributes:
        whom: The refused addresses, for a person who asks; never for a log.
        reached_others: Other recipients got it, so it must not be sent again.
    """

    def __init__(
        self,
        kind: Kind,
        reason: str,
        *,
        retry_after_s: float | None = None,
        whom: Sequence[str] = (),
        reached_others: bool = False,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.whom = tuple(whom)
        self.reached_others = reached_others


def refused(status: int, why: str = "", *, retry_after_s: float | None = None) -> ChannelError:
    """Return the error of an HTTP status."""
    said = f"answered {status}{': ' if why else ''}{why}"
    if status == 429:
        return ChannelError(Kind.RATE_LIMITED, said, retry_after_s=retry_after_s)
    kinds = {401: Kind.AUTH, 403: Kind.AUTH, 404: Kind.NOT_FOUND, 408: Kind.TIMEOUT}
    later = Kind.OVERLOADED if status >= 500 else Kind.BAD_REQUEST
    return ChannelError(kinds.get(status, later), said, retry_after_s=retry_after_s)


def unanswered(error: Exception) -> ChannelError:
    """Return the error of a connection; its original text may hold the whole address."""
    if isinstance(error, TimeoutError):
        return ChannelError(Kind.TIMEOUT, "no answer in time")
    if isinstance(error, aiohttp.InvalidURL):
        return ChannelError(Kind.BAD_REQUEST, "the address is invalid")
    return ChannelError(Kind.NETWORK, type(error).__name__)


def classify(channel: str, error: Exception) -> Failure | None:
    """Return a channel's error as a failure; `None` for an error of our own code."""
    if not isinstance(error, ChannelError):
        return None
    return failed(
        error.kind,
        CHANNELS,
        provider=channel,
        reason=error.reason,
        retry_after_s=error.retry_after_s,
    )


def reached_others(error: ServiceError) -> bool:
    """Return whether a failed message reached some recipients and must not be sent again."""
    cause = error.__cause__
    return isinstance(cause, ChannelError) and cause.reached_others
