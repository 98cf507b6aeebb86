"""The interface of every CRM, its errors, and the look-up of callers."""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp
from loguru import logger

from bot.clock import Clock
from calls.caller import is_dialable
from calls.entry import Tell
from calls.operations_events import CallerLookedUp
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings, Permit
from fallbacks.facts import AttemptFailed
from fallbacks.failure import Failure, Kind, failed
from operations.crm.customer import CrmContact, CrmReport

STAGE: Final = "crm"  # of its failures and its breaker


class Crm(Protocol):
    """The interface of a CRM."""

    @property
    def name(self) -> str:
        """Its name in the log."""
        ...

    async def look_up(self, number: str) -> CrmContact | None:
        """Return its contact with a number; `None` if there is none.

        Raises:
            CrmError: It refused, or did not answer.
        """
        ...

    async def write(self, report: CrmReport) -> None:
        """Report a call; a repeat is harmless if the CRM knows the report's key.

        Raises:
            CrmError: It refused, or did not answer.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class CrmError(Exception):
    """A CRM's failure, without an address or a key."""

    def __init__(self, kind: Kind, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s


def classify(name: str, error: Exception) -> Failure | None:
    """Return a CRM's error as a failure; `None` for an error of our own code."""
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
    """Return the error of an HTTP status."""
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
    """Return the error of a connection; its original text may hold the whole address."""
    if isinstance(error, TimeoutError):
        return CrmError(Kind.TIMEOUT, "no answer in time")
    if isinstance(error, aiohttp.InvalidURL):
        return CrmError(Kind.BAD_REQUEST, "the address is invalid")
    return CrmError(Kind.NETWORK, type(error).__name__)


BREAKER: Final = BreakerSettings(failures=3, open_s=30.0, successes=1, probing=False)
"""No probes: after its rest the next call tries it."""
LATE_S: Final = 10.0  # a later result does not help the call any more (chosen)


def availability_of(crm: Crm, now: float) -> AvailabilityTable:
    """Return a CRM's availability."""
    return AvailabilityTable(
        [Place(stage=STAGE, provider=crm.name, credential="")], now=now, settings=BREAKER
    )


@dataclass(slots=True, kw_only=True)
class CrmLookup:
    """Looks callers up; never raises."""

    crm: Crm
    availability: AvailabilityTable
    clock: Clock
    tell: Tell = lambda _: None
    _running: set[asyncio.Task[CrmContact | None]] = field(
        default_factory=set[asyncio.Task[CrmContact | None]]
    )

    def begin(self, number: str, *, tell: Tell) -> asyncio.Task[CrmContact | None]:
        """Start a look-up; the task's result is `None` if it finds nothing, or not in time."""
        task = asyncio.get_running_loop().create_task(
            self.look_up(number, tell=tell), name="look a caller up"
        )
        self._running.add(task)  # owned here: `close` cancels it
        task.add_done_callback(self._running.discard)
        return task

    async def look_up(self, number: str, *, tell: Tell) -> CrmContact | None:
        """Return the CRM's contact, and report how the look-up went."""
        began = self.clock()
        permit = self._permit(began) if is_dialable(number) else None
        if permit is None:
            outcome = "not_asked"
            contact = None
        else:
            contact, outcome = await self._ask(number, permit)
        took_s = round(self.clock() - began, 3)
        tell(CallerLookedUp(crm=self.crm.name, outcome=outcome, took_s=took_s))
        return contact

    async def close(self) -> None:
        """Cancel running look-ups, and close the CRM."""
        for item in tuple(self._running):
            item.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.crm.close()

    def _permit(self, now: float) -> Permit | None:
        for fact in self.availability.tick(now):
            self.tell(fact)
        return self.availability.of(STAGE, self.crm.name).permit(now)

    async def _ask(self, number: str, permit: Permit) -> tuple[CrmContact | None, str]:
        began = self.clock()
        breaker = self.availability.of(STAGE, self.crm.name).breaker
        try:
            async with asyncio.timeout(LATE_S):
                contact = await self.crm.look_up(number)
        except asyncio.CancelledError:
            breaker.take_back(permit)
            raise
        except Exception as error:  # noqa: BLE001 - the register's edge; the call goes on without
            self._note_failure(error, permit, self.clock() - began)
            return None, "failed"
        for fact in self.availability.succeeded((STAGE, self.crm.name), permit, now=self.clock()):
            self.tell(fact)
        return contact, "found" if contact else "unknown"

    def _note_failure(self, error: Exception, permit: Permit, after_s: float) -> None:
        failure = classify(self.crm.name, _as_crm(error))
        if failure is None:
            logger.opt(exception=error).error("looking a caller up failed")
            self.availability.of(STAGE, self.crm.name).breaker.take_back(permit)
            return
        self.tell(AttemptFailed.of(failure, after_s=after_s))
        for fact in self.availability.failed(permit, failure, now=self.clock()):
            self.tell(fact)


def _as_crm(error: Exception) -> Exception:
    return unanswered(error) if isinstance(error, TimeoutError) else error
