"""Puts the parts together: which channels are configured, and what works while a server runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from loguru import logger

from bot import clock
from bot.config.alert_channels import missing_of
from bot.config.settings import AlertsSettings, Settings
from calls.entry import Tell
from operations.keep_running import at_work, keep_running
from operations.notify.alert import AlertRules
from operations.notify.alert_outbox import AlertOutbox
from operations.notify.channel import Channel
from operations.notify.desk import AlertDesk, AlertPolicy
from operations.notify.mail import MailChannel
from operations.notify.past_outbox import PastOutbox
from operations.notify.quiet import quiet_hours
from operations.notify.reporter import AlertReporter
from operations.notify.telegram import TelegramChannel
from operations.notify.webhook import WebhookChannel
from operations.retrying import Retries


def utc_s() -> float:
    """Return the seconds since 1970."""
    return clock.utc_now().timestamp()


def channels_of(settings: AlertsSettings) -> list[Channel]:
    """Return every channel that is wholly configured."""
    found: list[Channel] = []
    if settings.email.sender and settings.email.to:
        found.append(MailChannel(settings.email, utc_s=utc_s))
    if settings.telegram.bot_token and settings.telegram.chat_id:
        found.append(TelegramChannel(settings.telegram))
    if settings.webhook.url:
        found.append(WebhookChannel(settings.webhook, utc_s=utc_s))
    return found


def policy_of(settings: AlertsSettings) -> AlertPolicy:
    """Return when whom is told."""
    rules = AlertRules(
        hold_s=settings.hold_s,
        update_s=settings.update_s,
        again_s=settings.again_s,
        escalate_s=settings.escalate_s,
        per_hour=settings.per_hour,
        wakes=settings.quiet.wakes,
    )
    return AlertPolicy(rules=rules, quiet=quiet_hours(settings.quiet))


@asynccontextmanager
async def tell_operators(
    settings: Settings,
    reporter: AlertReporter,
    outbox: AlertOutbox,
    *,
    tell: Tell,
    leads: Callable[[], bool],
) -> AsyncIterator[AlertDesk]:
    """Have incidents reported, decided on and sent while the block runs."""
    for each in missing_of(settings.alerts):
        logger.warning("alerts by {}", each)
    channels = channels_of(settings.alerts)
    retries = Retries(settings=settings.resilience.retry_settings(), tell=tell)
    policy = policy_of(settings.alerts)
    desk = AlertDesk(outbox, channels, policy, retries=retries, leads=leads, utc_s=utc_s)
    past = PastOutbox(channels, retries=retries, leads=leads, again_s=policy.rules.again_s)
    reporter.tell_refused = past.tell
    try:
        async with at_work(
            reports=keep_running("reporting incidents", reporter.run),
            alerts=desk.run(),
            past_outbox=keep_running("alerts past the database", past.run),
        ):
            yield desk
    finally:
        await reporter.write()
        await outbox.close()
