"""Decides on reported incidents and sends the alerts, in one process for all."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from loguru import logger

from calls.incident import IncidentBegan
from calls.operations_events import AlertClosed, AlertSent
from calls.state import STAGES
from fallbacks.events import AttemptWon
from fallbacks.failure import ServiceError
from fallbacks.retrying import MAX_REST_S
from operations.database.database import StorageError
from operations.database.row_outbox import LAST_TRY_S
from operations.keep_running import keep_repeating
from operations.notify.alert import (
    CHANNELS,
    Alert,
    AlertRules,
    Census,
    TellAlert,
    begun_events,
    ended_events,
    with_callers,
)
from operations.notify.alert_outbox import (
    KNOWN_S,
    AlertChannel,
    AlertOutbox,
    ChannelPost,
    ReportedEvent,
    RoundOutcome,
)
from operations.notify.alerting_rules import Alerting, count_callers, new_alert
from operations.notify.channel import AlertText, Channel, alert_text
from operations.notify.reporter import LASTS_S
from operations.remote import RemoteError, remote_failure
from operations.retrying import Retries, run_with_retries

TRANSIENT_REST_S: Final = 60.0  # a channel's rest after a failed series of attempts


class AlertSending:
    """Sends pending alerts from the outbox, and tracks failing channels."""

    def __init__(
        self, outbox: AlertOutbox, *, retries: Retries, utc_s: Callable[[], float]
    ) -> None:
        """Start with healthy channels."""
        self._outbox = outbox
        self._retries = replace(retries, settings=replace(retries.settings, within_s=LAST_TRY_S))
        self._utc_s = utc_s
        self._failing: set[str] = set()  # channels whose failure was reported
        self._rests_until_s: dict[str, float] = {}  # by channel, as it asked for; since 1970

    async def send_next(self, channel: Channel) -> bool:
        """Send a channel's next pending alert; return False if there is none, or it failed.

        A failed alert is put off. One that reached only some recipients counts as sent. A channel
        that asks for a wait gets no alert until then. Emits `AlertSent`, and whether a failing
        channel works again.
        """
        if self._utc_s() < self._rests_until_s.get(channel.name, 0.0):
            return False
        post = await self._outbox.lend(channel.name, now_s=self._utc_s)
        if post is None:
            return False
        is_complete = True
        try:
            handle = await post_to(channel, post, alert_text(post.alert), self._retries)
        except ServiceError as error:
            self._note_failure(channel.name, error)
            if not reached_others(error):
                await self._put_off(post, error)
                return False
            handle, is_complete = post.handle, False  # counts as sent, although not to everyone
        await self._outbox.record_sent(post, handle=handle)
        alert = post.alert
        sent = AlertSent(
            channel=channel.name,
            key=alert.key,
            severity=alert.severity,
            edited=bool(post.handle),
        )
        self._retries.emit(sent)
        if is_complete:
            self._note_success(channel.name)
        return True

    async def _put_off(self, post: ChannelPost, error: ServiceError) -> None:
        """Set when to try again: later after a permanent failure, or if the channel asks for it."""
        wait_s = MAX_REST_S if error.failure.permanent else TRANSIENT_REST_S
        asked_s = error.failure.retry_after_s or 0.0
        self._rests_until_s[post.channel] = self._utc_s() + asked_s
        wait_s = max(wait_s, asked_s)
        await self._outbox.put_off(post, until_s=self._utc_s() + wait_s)

    def _note_failure(self, channel: str, error: ServiceError) -> None:
        """Log a failure; the channel counts as failing until `_note_success`."""
        self._failing.add(channel)
        missed = "did not reach all recipients" if reached_others(error) else "was not sent"
        logger.error("an alert by {1} {0}: {2}", missed, channel, error.failure.reason)

    def _note_success(self, channel: str) -> None:
        """Emit that a failing channel works again, which ends its incident."""
        if channel in self._failing:
            self._failing.discard(channel)
            won = AttemptWon(stage=CHANNELS, provider=channel, attempt=1, after_s=0.0)
            self._retries.emit(won)


async def post_to(channel: Channel, post: ChannelPost, text: AlertText, retries: Retries) -> str:
    """Send a message; return the id for later updates.

    Raises:
        ServiceError: The channel failed every time.
    """
    return await run_with_retries(
        lambda: channel.post(post, text),
        asked=(CHANNELS, channel.name),
        classify=partial(remote_failure, CHANNELS, channel.name),
        retries=retries,
    )


def reached_others(error: ServiceError) -> bool:
    """Return whether a failed message reached some recipients and must not be sent again."""
    cause = error.__cause__
    return isinstance(cause, RemoteError) and cause.reached_others


DATABASE_DOWN_THEN: Final = (
    "calls go on; the record and all other alerts wait until it accepts writes again"
)


class DirectAlerts:
    """Notifies operators, without the database, that the database refuses to write.

    Every other alert goes through the outbox, which is in the database, where this one would wait
    until it is useless. So it is sent once to each channel, with a few retries. The end of the
    failure is reported through the outbox, which then works again. Runs in each process, but acts
    only in the pool's leader.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        retries: Retries,
        leads: Callable[[], bool],
        again_s: float,
    ) -> None:
        """Create a sender without alerts.

        Args:
            channels: Each gets every message once.
            retries: The retry policy.
            leads: Returns whether this process leads the worker pool.
            again_s: A repeat within this time is the same incident, and not sent again.
        """
        self._channels = channels
        self._retries = retries
        self._leads = leads
        self._again_s = again_s
        self._reported_s: float | None = None  # when it was last reported, since 1970
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(1)

    def emit(self, reported: ReportedEvent) -> None:
        """Queue a report that the outbox refused, if this process leads; never waits.

        Only the beginning of an incident is sent, and a repeat within `again_s` is not.
        """
        fact, at_s = reported.fact, reported.at_s
        is_repeat = self._reported_s is not None and at_s < self._reported_s + self._again_s
        if not isinstance(fact, IncidentBegan) or is_repeat or not self._leads():
            return
        if self._waiting.full():
            return  # the same report is being sent
        self._reported_s = at_s
        self._waiting.put_nowait(new_alert(fact, at_s, then=DATABASE_DOWN_THEN))

    async def run(self) -> None:
        """Send each queued alert to all channels, one alert after the other, until cancelled."""
        while True:
            alert = await self._waiting.get()
            logger.critical("Sending alert without the database: {}", alert_text(alert).title)
            async with asyncio.TaskGroup() as sending:
                for channel in self._channels:
                    sending.create_task(self._send_alert(channel, alert), name=channel.name)

    async def _send_alert(self, channel: Channel, alert: Alert) -> None:
        """Send an alert, and emit `AlertSent` if anyone got it; a failure is only logged."""
        post = ChannelPost(alert=alert, channel=channel.name, handle="")
        try:
            await post_to(channel, post, alert_text(alert), self._retries)
        except ServiceError as error:
            logger.error("an alert was not sent by {}: {}", channel.name, error.failure.reason)
            if not reached_others(error):
                return  # no recipient got it
        self._retries.emit(
            AlertSent(channel=channel.name, key=alert.key, severity=alert.severity, edited=False)
        )


ALERTS_CHECK_S: Final = 1.0  # between two checks of the outbox
MAX_RECENT: Final = 200  # alerts to show
COUNT_EVERY_S: Final = 5.0  # between two queries for the hurt callers


class AlertDispatcher:
    """Decides and sends; runs in each process, but acts only in the pool's leader.

    Attributes:
        sending: Sends the alerts to the channels.
    """

    def __init__(
        self,
        outbox: AlertOutbox,
        channels: Sequence[Channel],
        rules: AlertRules,
        *,
        quiet: Callable[[float], bool],
        retries: Retries,
        leads: Callable[[], bool],
        utc_s: Callable[[], float],
        describe_replacement: Callable[[str, str], str],
    ) -> None:
        """Create a dispatcher; `run` starts the work.

        Args:
            outbox: The reports and the alerts.
            channels: Each gets every alert.
            rules: When to notify operators.
            quiet: Returns whether a moment is in quiet hours.
            retries: The retry policy.
            leads: Returns whether this process leads the worker pool.
            utc_s: Returns the seconds since 1970.
            describe_replacement: Returns what replaces a rung now; if its name is empty, the stage.
        """
        self._outbox = outbox
        self._channels = channels
        self._properties = [
            AlertChannel(name=channel.name, edits=channel.edits) for channel in channels
        ]
        self._rules = rules
        self._quiet = quiet
        self._retries = retries
        self._leads = leads
        self._utc_s = utc_s
        self._failed_s = float("-inf")  # when the database last failed a round
        self._describe_replacement = describe_replacement
        self._census, self._counted_s = Census(), float("-inf")
        now_s = outbox.clock.now_s if outbox.clock else utc_s
        self.sending = AlertSending(outbox, retries=retries, utc_s=now_s)

    async def run(self) -> None:
        """Decide and send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._repeat_if_leading("deciding on alerts", self.decide), name="alerts"
            )
            for channel in self._channels:
                send = partial(self.sending.send_next, channel)
                tasks.create_task(
                    self._repeat_if_leading(f"alerts by {channel.name}", send), name=channel.name
                )

    async def decide(self) -> bool:
        """Decide once on the reports, and log loud messages; return whether any is to be sent."""
        messages = await self._run_round()
        for tell_alert in messages:
            if tell_alert.loud:
                logger.warning("Sending alert: {}", alert_text(tell_alert.alert).title)
        return bool(messages)

    async def change(self, alter: Callable[[Alerting, float], object]) -> Sequence[Alert]:
        """Apply an operator's request, in any process; return the recent alerts.

        `alter` changes the alerts at a moment, and may be called twice: see `run_round`.
        """
        await self._run_round(alter)
        return await self.recent()

    async def _run_round(
        self, alter: Callable[[Alerting, float], object] | None = None
    ) -> Sequence[TellAlert]:
        """Run one round, with an operator's request if any; return the messages to send.

        Emits an event for each alert that begins or ends without a process's report of it.
        """
        changes: tuple[IncidentBegan | AlertClosed, ...] = ()
        census = Census()

        def decide(known: Sequence[Alert], facts: Sequence[ReportedEvent]) -> RoundOutcome:
            nonlocal changes  # called twice: the second result is committed
            alerting, messages = self._apply_reports(known, facts, census)
            result = alter(alerting, self._utc_s()) if alter else ()
            more = result if isinstance(result, tuple) else ()  # a request may return messages
            changes = (*begun_events(known, alerting.alerts), *ended_events(known, alerting.alerts))
            return RoundOutcome(known=tuple(alerting.alerts.values()), messages=(*messages, *more))

        try:
            census = await self._count_hurt_callers()
            messages = await self._outbox.run_round(
                decide, channels=self._properties, now=self._utc_s()
            )
        except StorageError:
            self._failed_s = self._utc_s()
            raise
        for event in changes:
            self._retries.emit(event)
        return messages

    async def recent(self) -> Sequence[Alert]:
        """Return the open alerts, then the newest others, with current numbers and actions.

        At most `MAX_RECENT`. Callers are not counted again for alerts older than `KNOWN_S`.
        """
        census = await self._outbox.census(self._utc_s())
        alerts = await self._outbox.recent(MAX_RECENT)
        since_s = self._utc_s() - KNOWN_S  # the census goes back no further
        counted = (with_callers(alert, census) for alert in alerts if alert.open_s >= since_s)
        found = {alert.key: alert for alert in (*alerts, *counted)}
        return [self._with_current_action(alert) for alert in found.values()]

    def _with_current_action(self, alert: Alert) -> Alert:
        """Return an alert with what is done instead now."""
        if alert.ended_s is not None or alert.stage not in STAGES:
            return alert
        return replace(
            alert, then=self._describe_replacement(alert.stage, alert.rung) or alert.then
        )

    async def _count_hurt_callers(self) -> Census:
        """Return the hurt callers, from a query at most `COUNT_EVERY_S` ago."""
        now = self._utc_s()
        if not 0.0 <= now - self._counted_s < COUNT_EVERY_S:  # below 0: the clock was set back
            self._census, self._counted_s = await self._outbox.census(now), now
        return self._census

    def _apply_reports(
        self, known: Sequence[Alert], reports: Sequence[ReportedEvent], census: Census
    ) -> tuple[Alerting, tuple[TellAlert, ...]]:
        """Return the alerts after these reports, and the messages that are due."""
        # After an outage of the database, reports from that time still wait to be written: no alert
        # may end for lack of them.
        now = self._utc_s()
        complete = not 0.0 <= now - self._failed_s < LASTS_S
        shown = [self._with_current_action(alert) for alert in known]
        alerting = Alerting(self._rules, shown, quiet=self._quiet, complete=complete)
        messages = [
            action
            for report in reports
            for action in alerting.handle(report.fact, report.at_s, by=report.holder)
        ]
        return alerting, (*messages, *count_callers(alerting, census, now), *alerting.tick(now))

    async def _repeat_if_leading(self, what: str, work: Callable[[], Awaitable[bool]]) -> None:
        """Repeat some work for ever, while this process leads the pool."""

        async def work_if_leading() -> bool:
            return self._leads() and await work()

        await keep_repeating(what, work_if_leading, rest_s=lambda: ALERTS_CHECK_S)
