"""Decides on what was reported, and has each channel get what it is owed: one process for all."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from loguru import logger

from calls.alert_events import AlertClosed
from operations.database.database import StorageError
from operations.keep_running import keep_repeating
from operations.notify.alert import Alert, AlertRules, TellAlert, closed
from operations.notify.alert_outbox import AlertChannel, AlertOutbox, RoundOutcome
from operations.notify.alert_rows import ReportedFact
from operations.notify.alerting_rules import Alerting
from operations.notify.channel import Channel
from operations.notify.message import alert_text
from operations.notify.reporter import LASTS_S
from operations.notify.sending import AlertSending
from operations.retrying import Retries

LOOK_S: Final = 1.0  # between two looks into the outbox
RECENT: Final = 200  # alerts that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """When whom: the rules and the quiet hours."""

    rules: AlertRules
    quiet: Callable[[float], bool]

    def alerting(self, known: Sequence[Alert], *, heard: bool) -> Alerting:
        """Return the decision over what is known, and whether all that was said has been heard."""
        return Alerting(self.rules, known, quiet=self.quiet, heard=heard)


class AlertDesk:
    """Works in each process, and does something in the one that leads the house.

    Attributes:
        sending: Has the channels get what was decided.
    """

    def __init__(
        self,
        outbox: AlertOutbox,
        channels: Sequence[Channel],
        policy: AlertPolicy,
        *,
        retries: Retries,
        leads: Callable[[], bool],
        utc_s: Callable[[], float],
    ) -> None:
        """Prepare."""
        self._outbox = outbox
        self._channels = channels
        self._owed = [AlertChannel(name=each.name, edits=each.edits) for each in channels]
        self._policy = policy
        self._retries = retries
        self._leads = leads
        self._utc_s = utc_s
        self._failed_s = float("-inf")  # when the database did not do a round
        self.sending = AlertSending(outbox, retries=retries, utc_s=utc_s)

    async def run(self) -> None:
        """Decide and send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep("deciding on alerts", self.decide), name="alerts")
            for channel in self._channels:
                send = partial(self.sending.send_next, channel)
                tasks.create_task(self._keep(f"alerts by {channel.name}", send), name=channel.name)

    async def decide(self) -> bool:
        """Decide once on what was reported; False: nothing is to be told."""
        told = await self._run_round()
        for each in told:
            if each.loud:
                logger.warning("Sending alert: {}", alert_text(each.alert).title)
        return bool(told)

    async def change(self, alter: Callable[[Alerting, float], object]) -> Sequence[Alert]:
        """Have an operator's word decided on, in whichever process it came; return all alerts."""
        await self._run_round(alter)
        return await self.recent()

    async def _run_round(
        self, alter: Callable[[Alerting, float], object] | None = None
    ) -> Sequence[TellAlert]:
        """Have one round decided on, with an operator's word; tell what it has ended by itself."""
        over: tuple[AlertClosed, ...] = ()

        def decide(known: Sequence[Alert], facts: Sequence[ReportedFact]) -> RoundOutcome:
            nonlocal over  # what is decided last is committed; other rounds have their own
            alerting, told = self._read(known, facts)
            said = alter(alerting, self._utc_s()) if alter else ()
            more = said if isinstance(said, tuple) else ()
            over = closed(known, alerting.alerts)
            return RoundOutcome(known=tuple(alerting.alerts.values()), told=(*told, *more))

        try:
            told = await self._outbox.run_round(decide, channels=self._owed, now=self._utc_s())
        except StorageError:
            self._failed_s = self._utc_s()
            raise
        for each in over:
            self._retries.tell(each)
        return told

    async def recent(self) -> Sequence[Alert]:
        """Return the open alerts, then the newest others."""
        return await self._outbox.recent(RECENT)

    def _read(
        self, known: Sequence[Alert], facts: Sequence[ReportedFact]
    ) -> tuple[Alerting, tuple[TellAlert, ...]]:
        # Behind an outage what reporters have said meanwhile waits to be written.
        heard = not 0.0 <= self._utc_s() - self._failed_s < LASTS_S
        alerting = self._policy.alerting(known, heard=heard)
        told = [
            action
            for each in facts
            for action in alerting.handle(each.fact, each.at_s, by=each.holder, turns=each.turns)
        ]
        return alerting, (*told, *alerting.tick(self._utc_s()))

    async def _keep(self, what: str, work: Callable[[], Awaitable[bool]]) -> None:
        async def work_if_leading() -> bool:
            return self._leads() and await work()

        await keep_repeating(what, work_if_leading, rest_s=lambda: LOOK_S)
