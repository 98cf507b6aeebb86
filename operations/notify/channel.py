"""What every channel of alerts offers, and what it says when it fails."""

from collections.abc import Sequence
from typing import Final, Protocol

import aiohttp

from fallbacks.failure import Failure, Kind, ServiceError, failed
from operations.notify.alert import CHANNELS
from operations.notify.alert_outbox import ChannelPost
from operations.notify.message import AlertText

POST_S: Final = 10.0  # chosen: for one request, from connecting to its answer


class Channel(Protocol):
    """One way to an operator."""

    @property
    def name(self) -> str:
        """What it is called in the outbox and in the log."""
        ...

    @property
    def edits(self) -> bool:
        """Whether it can change a message that it has sent."""
        ...

    @property
    def place(self) -> str:
        """Where it leads, for people, without a secret."""
        ...

    async def post(self, post: ChannelPost, text: AlertText) -> str:
        """Send or change a message; return the handle by which it can be changed.

        Raises:
            ChannelError: The other side refused, or did not answer.
        """
        ...


class ChannelError(Exception):
    """A channel did not take an alert; says so without an address or a key.

    Attributes:
        whom: The addresses that were refused, for a person who asks; for no log.
        reached_others: It went to the others, and is not to be sent again.
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
    """Return what an HTTP status means."""
    said = f"answered {status}{': ' if why else ''}{why}"
    if status == 429:
        return ChannelError(Kind.RATE_LIMITED, said, retry_after_s=retry_after_s)
    kinds = {401: Kind.AUTH, 403: Kind.AUTH, 404: Kind.NOT_FOUND, 408: Kind.TIMEOUT}
    later = Kind.OVERLOADED if status >= 500 else Kind.BAD_REQUEST
    return ChannelError(kinds.get(status, later), said, retry_after_s=retry_after_s)


def unanswered(error: Exception) -> ChannelError:
    """Return what a connection's trouble means; its own text may hold the whole address."""
    if isinstance(error, TimeoutError):
        return ChannelError(Kind.TIMEOUT, "no answer in time")
    if isinstance(error, aiohttp.InvalidURL):
        return ChannelError(Kind.BAD_REQUEST, "the address is none")
    return ChannelError(Kind.NETWORK, type(error).__name__)


def classify(channel: str, error: Exception) -> Failure | None:
    """Return a channel's error as a failure; None: it is a mistake of ours."""
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
    """Return whether what failed has nonetheless reached somebody, and is not to be sent again."""
    cause = error.__cause__
    return isinstance(cause, ChannelError) and cause.reached_others
