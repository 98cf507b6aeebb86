"""Passes each requested callback to a campaign once, with its requested time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loguru import logger

from calls.entry import Tell
from calls.operations_events import CallbackQueued
from calls.outbound import CallConsent
from campaigns.store.callback_contacts import CallbackContacts, CallbackNote, QueuedAs
from campaigns.store.contacts import NewContact
from operations.after_call.asking import local_time, read_moment
from operations.after_call.outcome_rules import CallResult
from operations.database.database import StorageError
from operations.numbers import CallableNumber, read_number

LOOK_S: Final = 60.0  # between two checks for callbacks without a campaign
PRIORITY: Final = 10  # before contacts that expect no call (chosen)
NO_CALLS: Final = "do_not_call"  # as the outcome of a call and of a callback
SAID_WHEN: Final = "when: "  # the model's tool writes this into a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackQueue:
    """Never raises: `run` finds callbacks that could not be passed on.

    Attributes:
        contacts: The store of callbacks and contacts.
        campaign: The campaign that calls back.
        region: Of numbers without a country code.
        unclear_s: The delay if a requested time was not understood.
    """

    contacts: CallbackContacts
    campaign: str
    tell: Tell
    utc_s: Callable[[], float]
    region: str = ""
    unclear_s: float = 86_400.0

    async def take_wish(self, result: CallResult, *, when: str) -> None:
        """Pass on the callback of an ended call.

        Args:
            result: The result of the call.
            when: The same moment in the caller's words; empty if there are none.
        """
        due_s = self._due_s(result.callback_at_s, when, result.ended_s)
        try:
            if result.outcome == NO_CALLS:
                await self._give_up(result.call_id, result.number, NO_CALLS)
            else:
                await self.give(result.call_id, result.number, due_s)
        except StorageError as error:
            logger.error("a callback could not be added to a campaign yet: {}", error)

    async def run(self) -> None:
        """Pass on callbacks that were left, until cancelled."""
        unwell = False
        while True:
            try:
                await self.give_left()
                unwell = False
            except StorageError as error:
                if not unwell:
                    logger.error("callbacks could not be added to a campaign yet: {}", error)
                unwell = True
            await asyncio.sleep(LOOK_S)

    async def give_left(self) -> None:
        """Pass on the callbacks that a killed process or a campaign left.

        Raises:
            StorageError: The database does not answer.
        """
        for contact in await self.contacts.left(now=self.utc_s()):
            if contact.outcome == NO_CALLS:
                await self._give_up(contact.call_id, contact.number, NO_CALLS)
                continue
            _, said, when = contact.reason.partition(SAID_WHEN)
            due_s = self._due_s(contact.callback_at_s, when if said else "", contact.asked_s)
            await self.give(contact.call_id, contact.number, due_s)

    async def give(self, call_id: str, number: str, due_s: float) -> None:
        """Schedule a callback for this time at the earliest; do nothing if it is already scheduled.

        Raises:
            StorageError: The database does not answer.
        """
        now = self.utc_s()
        read = read_number(number, region=self.region)
        if not isinstance(read, CallableNumber):  # also a number with a special tariff
            await self._give_up(call_id, number, "no_number")
            return
        contact = NewContact(
            number=read.e164,
            zones=read.zones,
            consent=CallConsent(
                kind="callback",
                given_on=local_time(now, "UTC").date().isoformat(),
                source=f"call {call_id}",
            ),
            priority=PRIORITY,
            due_s=due_s,
        )
        queued = await self.contacts.queue(call_id, self.campaign, contact, now=now)
        if queued is not None:
            self._tell_of(call_id, queued, max(0.0, due_s - now))

    def _due_s(self, found_s: float | None, when: str, asked_s: float) -> float:
        if found_s is not None:
            return found_s
        moment = read_moment(when, local_time(asked_s, "UTC"))
        if moment is None:
            return asked_s
        return asked_s + self.unclear_s if isinstance(moment, str) else moment.timestamp()

    async def _give_up(self, call_id: str, number: str, outcome: QueuedAs) -> None:
        note = CallbackNote(call_id, number, self.campaign, outcome)
        if await self.contacts.give_up(note, now=self.utc_s()):
            self._tell_of(call_id, outcome, 0.0)

    def _tell_of(self, call_id: str, outcome: QueuedAs, wait_s: float) -> None:
        self.tell(
            CallbackQueued(
                call_id=call_id,
                campaign=self.campaign,
                outcome=outcome,
                wait_s=round(wait_s, 1),
            )
        )


def zone_of(number: str, *, region: str) -> str:
    """Return a zone that a number is in; empty if unknown."""
    read = read_number(number, region=region)
    zones = read.zones if isinstance(read, CallableNumber) else ()
    return next((zone for zone in zones if "/" in zone and not zone.startswith("Etc/")), "")
