"""Decides on what was reported, and has each channel get what it is owed: one process for all."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from loguru import logger

from calls.incident import IncidentBegan
from calls.operations_events import AlertClosed, AlertSent
from fallbacks.facts import AttemptWon
from fallbacks.failure import ServiceError
from fallbacks.retrying import LONGEST_REST_S
from operations.database.database import StorageError
from operations.keep_running import keep_repeating
from operations.notify.alert import CHANNELS, Alert, AlertRules, TellAlert, closed
from operations.notify.alerting_rules import Alerting, begun
from operations.notify.channel import Channel, alert_text, classify, reached_others
from operations.notify.outbox import (
    LAST_TRY_S,
    AlertChannel,
    AlertOutbox,
    ChannelPost,
    ReportedFact,
    RoundOutcome,
)
from operations.notify.reporter import LASTS_S
from operations.retrying import Retries, run_with_retries

TRANSIENT_S: Final = 60.0  # before a channel gets another sequence of tries


class AlertSending:
    """Sends what stands in the outbox, and knows which channels are in trouble."""

    def __init__(
        self, outbox: AlertOutbox, *, retries: Retries, utc_s: Callable[[], float]
    ) -> None:
        """Begin with channels that are well."""
        self._outbox = outbox
        self._retries = replace(retries, settings=replace(retries.settings, within_s=LAST_TRY_S))
        self._utc_s = utc_s
        self._failing: set[str] = set()  # channels whose trouble was told

    async def send_next(self, channel: Channel) -> bool:
        """Send one alert that a channel is owed; False: it is owed none, or does not take it."""
        post = await self._outbox.lend(channel.name, now=self._utc_s())
        if post is None:
            return False
        whole = True
        try:
            handle = await run_with_retries(
                lambda: channel.post(post, alert_text(post.alert)),
                asked=(CHANNELS, channel.name),
                classify=partial(classify, channel.name),
                retries=self._retries,
            )
        except ServiceError as error:
            self._note_failure(channel.name, error)
            if not reached_others(error):
                await self._put_off(post, error)
                return False
            handle, whole = post.handle, False
        await self._outbox.sent(post, handle=handle)
        alert = post.alert
        sent = AlertSent(
            channel=channel.name,
            key=alert.key,
            severity=alert.severity,
            edited=bool(post.handle),
        )
        self._retries.tell(sent)
        if whole:
            self._note_success(channel.name)
        return True

    async def _put_off(self, post: ChannelPost, error: ServiceError) -> None:
        wait_s = LONGEST_REST_S if error.failure.permanent else TRANSIENT_S
        wait_s = max(wait_s, error.failure.retry_after_s or 0.0)
        await self._outbox.put_off(post, until_s=self._utc_s() + wait_s)

    def _note_failure(self, channel: str, error: ServiceError) -> None:
        self._failing.add(channel)
        missed = "did not reach all" if reached_others(error) else "did not go out"
        logger.error("an alert {} by {}: {}", missed, channel, error.failure.reason)

    def _note_success(self, channel: str) -> None:
        """Tell that a channel that had failed works again, so that its incident ends."""
        if channel in self._failing:
            self._failing.discard(channel)
            won = AttemptWon(stage=CHANNELS, provider=channel, attempt=1, after_s=0.0)
            self._retries.tell(won)


# Tells operators that the database refuses to write, without asking the database.
#
# Every other alert goes through the outbox, which stands in it. This one would wait there until
# nobody needs it. It goes once to each channel, is tried again a few times, and is forgotten then:
# that it is over comes by the outbox, which works again.

THEN: Final = "calls go on; the record and all other alerts wait until it writes again"


class PastOutbox:
    """Works in each process, and sends in the one that leads the house."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        retries: Retries,
        leads: Callable[[], bool],
        again_s: float,
    ) -> None:
        """Prepare.

        Args:
            channels: Each gets every message once.
            retries: How often a channel is asked, and who is told.
            leads: Whether this process speaks for the house.
            again_s: What comes back within this time is the same incident, and was told.
        """
        self._channels = channels
        self._retries = retries
        self._leads = leads
        self._again_s = again_s
        self._told_s: float | None = None  # when it was told last, since 1970
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(1)

    def tell(self, reported: ReportedFact) -> None:
        """Have a fact told that the outbox refused; waits for nothing."""
        fact, at_s = reported.fact, reported.at_s
        lately = self._told_s is not None and at_s < self._told_s + self._again_s
        if not isinstance(fact, IncidentBegan) or lately or not self._leads():
            return
        if self._waiting.full():
            return  # the same is being told
        self._told_s = at_s
        self._waiting.put_nowait(begun(fact, at_s, then=THEN))

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            alert = await self._waiting.get()
            logger.critical("Sending alert past the database: {}", alert_text(alert).title)
            async with asyncio.TaskGroup() as sending:
                for channel in self._channels:
                    sending.create_task(self._send(channel, alert), name=channel.name)

    async def _send(self, channel: Channel, alert: Alert) -> None:
        post = ChannelPost(alert=alert, channel=channel.name, handle="")
        try:
            await run_with_retries(
                lambda: channel.post(post, alert_text(alert)),
                asked=(CHANNELS, channel.name),
                classify=partial(classify, channel.name),
                retries=self._retries,
            )
        except ServiceError as error:
            logger.error("an alert did not go out by {}: {}", channel.name, error.failure.reason)
            if not reached_others(error):
                return
        self._retries.tell(
            AlertSent(channel=channel.name, key=alert.key, severity=alert.severity, edited=False)
        )


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


class AlertDispatcher:
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
        self._owed = [AlertChannel(name=channel.name, edits=channel.edits) for channel in channels]
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
        for tell_alert in told:
            if tell_alert.loud:
                logger.warning("Sending alert: {}", alert_text(tell_alert.alert).title)
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
        for alert_closed in over:
            self._retries.tell(alert_closed)
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
            for fact in facts
            for action in alerting.handle(fact.fact, fact.at_s, by=fact.holder, turns=fact.turns)
        ]
        return alerting, (*told, *alerting.tick(self._utc_s()))

    async def _keep(self, what: str, work: Callable[[], Awaitable[bool]]) -> None:
        async def work_if_leading() -> bool:
            return self._leads() and await work()

        await keep_repeating(what, work_if_leading, rest_s=lambda: LOOK_S)
