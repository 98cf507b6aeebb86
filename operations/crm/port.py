"""The interface of every CRM, and the look-up of callers."""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

from loguru import logger

from calls.entry import Emit
from calls.operations_events import CallerLookedUp
from contacts.numbers import as_dialled
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings, Permit
from fallbacks.events import AttemptFailed
from operations.crm.customer import CrmContact, CrmReport
from operations.remote import remote_failure, unanswered
from runtime.clock import Clock

STAGE: Final = "crm"  # of its failures and its breaker


class Crm(Protocol):
    """The interface of a CRM."""

    @property
    def name(self) -> str:
        """Its name in the log."""
        ...

    async def look_up(self, number: str) -> CrmContact | None:
        """Return the CRM's contact with a number; `None` if there is none.

        Raises:
            RemoteError: The CRM refused, did not answer, or sent an invalid answer.
        """
        ...

    async def write(self, report: CrmReport) -> None:
        """Report a call; a repeat is harmless if the CRM supports idempotency keys.

        Raises:
            RemoteError: The CRM refused, or did not answer.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


BREAKER: Final = BreakerSettings(failures=3, open_s=30.0, successes=1, probing=False)
"""No probes: after `open_s` the look-up of the next call tries the CRM."""
LATE_S: Final = 10.0  # a later answer no longer helps the call (chosen)


def availability_of(crm: Crm, now: float) -> AvailabilityTable:
    """Return a health table with the CRM as its only entry."""
    return AvailabilityTable(
        [Place(stage=STAGE, provider=crm.name, credential="")], now=now, settings=BREAKER
    )


@dataclass(slots=True, kw_only=True)
class CrmLookup:
    """Looks callers up; never raises."""

    crm: Crm
    availability: AvailabilityTable
    clock: Clock
    region: str | None = None  # of numbers without a country code
    emit: Emit = lambda _: None
    _running: set[asyncio.Task[CrmContact | None]] = field(
        default_factory=set[asyncio.Task[CrmContact | None]]
    )

    def start_look_up(self, number: str, *, emit: Emit) -> asyncio.Task[CrmContact | None]:
        """Start a look-up; the task's result is `None` if it finds nothing, or fails."""
        task = asyncio.get_running_loop().create_task(
            self.look_up(number, emit=emit), name="look a caller up"
        )
        self._running.add(task)  # owned here: `close` cancels it
        task.add_done_callback(self._running.discard)
        return task

    async def look_up(self, number: str, *, emit: Emit) -> CrmContact | None:
        """Return the CRM's contact or `None`, and emit the outcome of the look-up.

        The CRM is not asked while its breaker is open, or if the number is ambiguous or none.
        """
        began = self.clock()
        readings = as_dialled(number, region=self.region)
        # An ambiguous number is not looked up: the model could get another person's record.
        permit = self._tick_and_permit(began) if len(readings) == 1 else None
        if permit is None:
            outcome = "not_asked"
            contact = None
        else:
            contact, outcome = await self._look_up_and_report(readings[0], permit)
        took_s = round(self.clock() - began, 3)
        emit(CallerLookedUp(crm=self.crm.name, outcome=outcome, took_s=took_s))
        return contact

    async def close(self) -> None:
        """Cancel running look-ups, and close the CRM."""
        for item in tuple(self._running):
            item.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.crm.close()

    def _tick_and_permit(self, now: float) -> Permit | None:
        """End the breaker's rest if due; return its permit to ask now, or `None` if it refuses."""
        for event in self.availability.tick(now):
            self.emit(event)
        return self.availability.of(STAGE, self.crm.name).permit(now)

    async def _look_up_and_report(
        self, number: str, permit: Permit
    ) -> tuple[CrmContact | None, str]:
        """Return the contact and the outcome: `found`, `unknown`, or `failed` without an answer.

        Waits at most `LATE_S`. The result counts for the CRM's breaker.
        """
        began = self.clock()
        breaker = self.availability.of(STAGE, self.crm.name).breaker
        try:
            async with asyncio.timeout(LATE_S):
                contact = await self.crm.look_up(number)
        except asyncio.CancelledError:
            breaker.take_back(permit)
            raise
        except Exception as error:  # noqa: BLE001 - the CRM's edge; the call goes on without it
            self._note_failure(error, permit, self.clock() - began)
            return None, "failed"
        for event in self.availability.succeeded((STAGE, self.crm.name), permit, now=self.clock()):
            self.emit(event)
        return contact, "found" if contact else "unknown"

    def _note_failure(self, error: Exception, permit: Permit, after_s: float) -> None:
        """Count a failure of the CRM against it; only log an error of our own."""
        error = unanswered(error) if isinstance(error, TimeoutError) else error
        failure = remote_failure(STAGE, self.crm.name, error)
        if failure is None:
            logger.opt(exception=error).error("looking a caller up failed")
            self.availability.of(STAGE, self.crm.name).breaker.take_back(permit)
            return
        self.emit(AttemptFailed.of(failure, after_s=after_s))
        for event in self.availability.failed(permit, failure, now=self.clock()):
            self.emit(event)
