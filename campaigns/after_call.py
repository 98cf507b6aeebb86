"""Campaigns in the work after a call: the purpose of the call, and the queue of callbacks.

Each requested callback becomes a contact of a campaign exactly once, due at the requested time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from loguru import logger

from calls.entry import Emit
from calls.operations_events import CallbackQueued
from calls.outbound import CallConsent
from campaigns.order_gate import read_called, rules_in
from campaigns.order_rules import OrderRules, judge_contact
from campaigns.store.contacts import (
    WITHIN_S,
    CallbackNote,
    Contacts,
    NewContact,
    QueuedAs,
)
from campaigns.store.dials import Ledger
from configuration.settings import Settings
from contacts.numbers import CallableNumber, read_number
from operations.after_call.asking import local_time, read_moment
from operations.after_call.outcome_rules import CallResult
from operations.after_call.work import CallPurpose
from operations.database.database import Database, StorageError
from operations.keep_running import at_work, keep_running
from runtime import clock

CALLBACKS_CHECK_S: Final = 60.0  # between two checks for callbacks that are not queued
PRIORITY: Final = 10  # before contacts that expect no call (chosen)
NO_CALLS: Final = "do_not_call"  # the outcome of a call, and of its callback
SAID_WHEN: Final = "when: "  # precedes the requested time in the reason that the tool stores


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackQueue:
    """Queues requested callbacks in a campaign; `run` retries those that could not be queued.

    Attributes:
        contacts: The store of callbacks and contacts.
        campaign: The campaign that calls back.
        within_s: How long after a call its result is known.
        region: The country of numbers without a country code.
        unclear_s: The delay if a requested time was not understood.
        order_rules: The rules of the gate, which the number must pass.
    """

    contacts: Contacts
    campaign: str
    emit: Emit
    utc_s: Callable[[], float]
    within_s: float = WITHIN_S
    region: str = ""
    unclear_s: float = 86_400.0
    order_rules: OrderRules = field(default_factory=OrderRules)

    async def take_wish(self, result: CallResult, when: str) -> None:
        """Queue the callback of an ended call, or record that the caller wants no calls.

        A database failure is only logged.

        Args:
            result: The result of the call.
            when: The requested time in the caller's words; empty if there are none.
        """
        due_s = self._due_s(result.callback_at_s, when, result.ended_s)
        try:
            if result.outcome == NO_CALLS:
                await self._give_up(result.call_id, result.number, NO_CALLS)
            else:
                await self.queue_callback(result.call_id, result.number, due_s)
        except StorageError as error:
            logger.error("a callback could not be added to a campaign yet: {}", error)

    async def run(self) -> None:
        """Queue the callbacks that are not queued yet, every `CALLBACKS_CHECK_S`, until cancelled.

        Of database failures in a row, only the first is logged.
        """
        is_down = False
        while True:
            try:
                await self.queue_left()
                is_down = False
            except StorageError as error:
                if not is_down:
                    logger.error("callbacks could not be added to a campaign yet: {}", error)
                is_down = True
            await asyncio.sleep(CALLBACKS_CHECK_S)

    async def queue_left(self) -> None:
        """Queue the callbacks that a killed process left, or that could not be queued before.

        Raises:
            StorageError: The database does not answer.
        """
        for callback in await self.contacts.left_callbacks(
            now=self.utc_s(), within_s=self.within_s
        ):
            if callback.outcome == NO_CALLS:
                await self._give_up(callback.call_id, callback.number, NO_CALLS)
                continue
            when = callback.reason.partition(SAID_WHEN)[2]  # empty if the caller named no time
            due_s = self._due_s(callback.callback_at_s, when, callback.asked_s)
            await self.queue_callback(callback.call_id, callback.number, due_s)

    async def queue_callback(self, call_id: str, number: str, due_s: float) -> None:
        """Queue a callback for `due_s`, or record that its number cannot be called; publish it.

        Do nothing if the callback was handled before, or while its contact is being dialled: then
        `queue_left` finds it again. The request itself is stored as the consent to the call.

        Raises:
            StorageError: The database does not answer.
        """
        now = self.utc_s()
        parsed = read_number(number, region=self.region)
        if not isinstance(parsed, CallableNumber) or judge_contact(
            read_called(parsed.e164, ""), self.order_rules
        ):
            await self._give_up(call_id, number, "no_number")
            return
        contact = NewContact(
            number=parsed.e164,
            zones=parsed.zones,
            consent=CallConsent(
                kind="callback",
                given_on=local_time(now, "UTC").date().isoformat(),
                source=f"call {call_id}",
            ),
            priority=PRIORITY,
            due_s=due_s,
        )
        queued = await self.contacts.queue_callback(call_id, self.campaign, contact, now=now)
        if queued is not None:
            self._emit_queued(call_id, queued, max(0.0, due_s - now))

    def _due_s(self, agreed_s: float | None, when: str, asked_s: float) -> float:
        """Return when to call back: at the agreed time, or else at the time that `when` names.

        Without either, call back at `asked_s`; if `when` was not understood, `unclear_s` later.
        """
        if agreed_s is not None:
            return agreed_s
        moment = read_moment(when, local_time(asked_s, "UTC"))
        if moment is None:
            return asked_s
        if isinstance(moment, str):  # an error
            return asked_s + self.unclear_s
        return moment.timestamp()

    async def _give_up(self, call_id: str, number: str, outcome: QueuedAs) -> None:
        """Record and publish that a callback is not made, unless it was handled before."""
        note = CallbackNote(call_id, number, self.campaign, outcome)
        if await self.contacts.give_up_callback(note, now=self.utc_s()):
            self._emit_queued(call_id, outcome, 0.0)

    def _emit_queued(self, call_id: str, outcome: QueuedAs, wait_s: float) -> None:
        self.emit(
            CallbackQueued(
                call_id=call_id,
                campaign=self.campaign,
                outcome=outcome,
                wait_s=round(wait_s, 1),
            )
        )


@asynccontextmanager
async def open_callbacks(
    settings: Settings, database: Database, *, emit: Emit
) -> AsyncIterator[CallbackQueue | None]:
    """Queue callbacks during the block; yield the queue, or `None` if the staff calls back."""
    callbacks = settings.callbacks
    if not callbacks.campaign:
        yield None
        return
    queue = CallbackQueue(
        contacts=Contacts(database),
        campaign=callbacks.campaign,
        emit=emit,
        utc_s=clock.utc_s,
        within_s=settings.after_call.within_s,
        region=settings.server.region or settings.campaigns[callbacks.campaign].region,
        unclear_s=callbacks.unclear_s,
        order_rules=rules_in(settings),
    )
    async with at_work(callbacks=keep_running("callbacks", queue.run)):
        yield queue


async def purpose_of(dial_id: str, *, settings: Settings, ledger: Ledger) -> CallPurpose:
    """Return the purpose of a call: that of its campaign, if it was dialled for one.

    For other calls (`dial_id` is empty), and without the campaign in the settings, it has no goals.

    Raises:
        StorageError: The ledger of dials does not answer.
    """
    claim = await ledger.find(dial_id) if dial_id else None
    name = claim.dial.campaign if claim else ""
    campaign = settings.campaigns.get(name)
    if campaign is None:
        return CallPurpose(campaign=name, results=settings.after_call.results)
    return CallPurpose(
        campaign=name,
        goals=campaign.goals,
        results=campaign.results or settings.after_call.results,
        zone=campaign.zone,
    )
