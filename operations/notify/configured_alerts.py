"""Assembles the configured alert channels, and runs the alerts while a server runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from loguru import logger

from calls.entry import Emit
from configuration.alerts import AlertsSettings, QuietSettings, missing_of
from configuration.settings import Settings
from fallbacks.failure import Severity
from operations.keep_running import at_work, keep_running
from operations.masking import printable
from operations.notify.alert import Alert, AlertRules
from operations.notify.alert_outbox import AlertOutbox, ChannelPost
from operations.notify.alerting_rules import never_quiet
from operations.notify.channel import Channel, alert_text
from operations.notify.dispatcher import AlertDispatcher, DirectAlerts
from operations.notify.mail import mail_channel
from operations.notify.reporter import AlertReporter
from operations.notify.telegram import telegram_channel
from operations.notify.webhook import webhook_channel
from operations.remote import RemoteError
from operations.retrying import Retries
from runtime import clock
from runtime.exits import DONE, FAILED


def quiet_hours(settings: QuietSettings) -> Callable[[float], bool]:
    """Return a predicate: whether a moment, in seconds since 1970, is in quiet hours.

    Without quiet hours, it always returns False.
    """
    begin, end = settings.begin, settings.end
    if begin is None:
        return never_quiet
    zone = ZoneInfo(settings.zone)

    def is_quiet(at_s: float) -> bool:
        time_of_day = f"{datetime.fromtimestamp(at_s, zone):%H:%M}"
        if begin <= end:
            return begin <= time_of_day < end
        return time_of_day >= begin or time_of_day < end  # they include midnight

    return is_quiet


def utc_s() -> float:
    """Return the seconds since 1970."""
    return clock.utc_now().timestamp()


def channels_of(settings: AlertsSettings) -> list[Channel]:
    """Return every channel that is completely configured."""
    found: list[Channel] = []
    if settings.email.sender and settings.email.to:
        found.append(mail_channel(settings.email, utc_s=utc_s))
    if settings.telegram.bot_token and settings.telegram.chat_id:
        found.append(telegram_channel(settings.telegram))
    if settings.webhook.url:
        found.append(webhook_channel(settings.webhook, utc_s=utc_s))
    return found


def rules_of(settings: AlertsSettings) -> AlertRules:
    """Return when to notify operators."""
    return AlertRules(
        hold_s=settings.hold_s,
        update_s=settings.update_s,
        again_s=settings.again_s,
        escalate_s=settings.escalate_s,
        per_hour=settings.per_hour,
        wakes=settings.quiet.wakes,
        hurt_share=settings.hurt_share,
        hurt_callers=settings.hurt_callers,
    )


@asynccontextmanager
async def tell_operators(
    settings: Settings,
    reporter: AlertReporter,
    outbox: AlertOutbox,
    *,
    emit: Emit,
    leads: Callable[[], bool],
    describe_replacement: Callable[[str, str], str] = lambda _stage, _rung: "",
) -> AsyncIterator[AlertDispatcher]:
    """Report incidents, decide on them and send alerts during the block; yield the dispatcher.

    After the block, other processes learn that this one no longer reports its incidents.
    """
    for text in missing_of(settings.alerts):
        logger.warning("alerts by {}", text)
    channels = channels_of(settings.alerts)
    retries = Retries(settings=settings.resilience.retry_settings(), emit=emit)
    dispatcher = AlertDispatcher(
        outbox,
        channels,
        rules_of(settings.alerts),
        quiet=quiet_hours(settings.alerts.quiet),
        retries=retries,
        leads=leads,
        utc_s=utc_s,
        describe_replacement=describe_replacement,
    )
    direct = DirectAlerts(channels, retries=retries, leads=leads, again_s=settings.alerts.again_s)
    reporter.emit_refused = direct.emit
    try:
        async with at_work(
            reports=keep_running("reporting incidents", reporter.run),
            alerts=dispatcher.run(),
            past_outbox=keep_running("alerts without the database", direct.run),
        ):
            yield dispatcher
    finally:
        await reporter.leave()


NO_CHANNEL: Final = (
    "no channel is configured: set EMAIL_FROM and EMAIL_TO, "
    "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, or WEBHOOK_URL"
)


async def try_channels(settings: AlertsSettings, *, say: Callable[[str], object]) -> int:
    """Send a trial alert through each channel, and pass a line about each to `say`.

    Returns:
        The exit code: 1 for a failed, incomplete or missing channel.
    """
    channels, missing = channels_of(settings), list(missing_of(settings))
    alert = trial_alert(utc_s())
    lines = await asyncio.gather(*(_send_trial(channel, alert) for channel in channels))
    for _, line in lines:
        say(line)
    for item in missing:
        say(item)
    if not (channels or missing):
        say(NO_CHANNEL)
    return DONE if lines and not missing and all(sent for sent, _ in lines) else FAILED


def trial_alert(now: float) -> Alert:
    """Return an alert that declares itself a test."""
    return Alert(
        key=f"test-{round(now * 1000)}",
        stage="test",
        rung="",
        kind="of_this_channel",
        severity=Severity.LOW,
        reason="holdline alerts test was run. Nothing is wrong",
        then="",
        began_s=now,
        open_s=now,
        heard_s=now,
        revision=1,
    )


async def _send_trial(channel: Channel, alert: Alert) -> tuple[bool, str]:
    """Send an alert on one channel; return whether that worked, and a sentence about it."""
    post = ChannelPost(alert=alert, channel=channel.name, handle="")
    try:
        await channel.post(post, alert_text(alert))
    except RemoteError as error:
        reason = printable(error.reason)
        if error.whom:
            reason += f": {', '.join(error.whom)}"
        return False, f"{channel.name}: failed: {reason} ({channel.place})"
    return True, f"{channel.name}: sent ({channel.place})"
