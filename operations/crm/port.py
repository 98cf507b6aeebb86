"""What every register of customers offers, and what it says when it fails."""

from typing import Final, Protocol

import aiohttp

from fallbacks.failure import Failure, Kind, failed
from operations.crm.customer import CrmContact, CrmReport

STAGE: Final = "crm"  # of its failures, and of its breaker


class Crm(Protocol):
    """One register."""

    @property
    def name(self) -> str:
        """What it is called in the log."""
        ...

    async def look_up(self, number: str) -> CrmContact | None:
        """Return whom it knows under a number; None: nobody.

        Raises:
            CrmError: It refused, or did not answer.
        """
        ...

    async def write(self, report: CrmReport) -> None:
        """Tell it of a call; harmless when it is told again, where it knows the report's key.

        Raises:
            CrmError: It refused, or did not answer.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...


class CrmError(Exception):
    """A register did not do what it was asked; says so without an address or a key."""

    def __init__(self, kind: Kind, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s


def classify(name: str, error: Exception) -> Failure | None:
    """Return a register's error as a failure; None: it is a mistake of ours."""
    if not isinstance(error, CrmError):
        return None
    return failed(
        error.kind,
        STAGE,
        provider=name,
        reason=error.reason,
        retry_after_s=error.retry_after_s,
    )


def refused(status: int, *, retry_after_s: float | None = None) -> CrmError:
    """Return what an HTTP status means."""
    kinds = {
        401: Kind.AUTH,
        403: Kind.AUTH,
        404: Kind.NOT_FOUND,
        408: Kind.TIMEOUT,
        425: Kind.OVERLOADED,
        429: Kind.RATE_LIMITED,
    }
    other = Kind.OVERLOADED if status >= 500 else Kind.BAD_REQUEST
    said = f"answered {status}"
    return CrmError(kinds.get(status, other), said, retry_after_s=retry_after_s)


def unanswered(error: Exception) -> CrmError:
    """Return what a connection's trouble means; its own text may hold the whole address."""
    if isinstance(error, TimeoutError):
        return CrmError(Kind.TIMEOUT, "no answer in time")
    if isinstance(error, aiohttp.InvalidURL):
        return CrmError(Kind.BAD_REQUEST, "the address is none")
    return CrmError(Kind.NETWORK, type(error).__name__)
