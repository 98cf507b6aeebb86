"""Asks a register behind a breaker of its own: what is down costs no caller anything."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from loguru import logger

from bot.clock import Clock
from calls.caller_number import is_dialable
from calls.crm_events import CallerLookedUp
from calls.entry import Tell
from fallbacks.breaker import BreakerSettings, Permit
from fallbacks.facts import AttemptFailed
from fallbacks.roster import Place, Roster
from operations.crm.customer import CrmContact
from operations.crm.port import STAGE, Crm, classify, unanswered

BREAKER: Final = BreakerSettings(failures=3, open_s=30.0, successes=1, probing=False)
"""Nobody probes it: after its rest the next call does."""
LATE_S: Final = 10.0  # a look-up that lasts longer helps nobody in the call any more (chosen)


def roster_of(crm: Crm, now: float) -> Roster:
    """Return what is known of a register's health."""
    return Roster([Place(stage=STAGE, provider=crm.name, credential="")], now=now, settings=BREAKER)


@dataclass(slots=True, kw_only=True)
class CrmDesk:
    """Looks callers up; raises nothing."""

    crm: Crm
    roster: Roster
    clock: Clock
    tell: Tell = lambda _: None
    _running: set[asyncio.Task[CrmContact | None]] = field(
        default_factory=set[asyncio.Task[CrmContact | None]]
    )

    def begin(self, number: str, *, tell: Tell) -> asyncio.Task[CrmContact | None]:
        """Begin to look somebody up; the task's result is None when nobody is known, or in time."""
        task = asyncio.get_running_loop().create_task(
            self.look_up(number, tell=tell), name="look a caller up"
        )
        self._running.add(task)  # owned here: `close` ends it
        task.add_done_callback(self._running.discard)
        return task

    async def look_up(self, number: str, *, tell: Tell) -> CrmContact | None:
        """Return whom the register knows; told how it went."""
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
        """End what still runs, and let the register go."""
        for each in tuple(self._running):
            each.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.crm.close()

    def _permit(self, now: float) -> Permit | None:
        for fact in self.roster.tick(now):
            self.tell(fact)
        return self.roster.health(STAGE, self.crm.name).permit(now)

    async def _ask(self, number: str, permit: Permit) -> tuple[CrmContact | None, str]:
        began = self.clock()
        health = self.roster.health(STAGE, self.crm.name)
        try:
            async with asyncio.timeout(LATE_S):
                contact = await self.crm.look_up(number)
        except asyncio.CancelledError:
            health.breaker.take_back(permit)
            raise
        except Exception as error:  # noqa: BLE001 - the register's edge; the call goes on without
            self._note_failure(error, permit, self.clock() - began)
            return None, "failed"
        for fact in self.roster.succeeded((STAGE, self.crm.name), permit, now=self.clock()):
            self.tell(fact)
        return contact, "found" if contact else "unknown"

    def _note_failure(self, error: Exception, permit: Permit, after_s: float) -> None:
        failure = classify(self.crm.name, _as_crm(error))
        if failure is None:
            logger.opt(exception=error).error("looking a caller up failed")
            self.roster.health(STAGE, self.crm.name).breaker.take_back(permit)
            return
        self.tell(AttemptFailed.of(failure, after_s=after_s))
        for fact in self.roster.failed(permit, failure, now=self.clock()):
            self.tell(fact)


def _as_crm(error: Exception) -> Exception:
    return unanswered(error) if isinstance(error, TimeoutError) else error
