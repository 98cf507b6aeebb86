"""Puts the parts together: which channels are configured, and what works while a server runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from loguru import logger

from bot import clock
from bot.alerts.channel import Channel
from bot.alerts.desk import AlertDesk, AlertPolicy
from bot.alerts.mail import MailChannel
from bot.alerts.past_outbox import PastOutbox
from bot.alerts.quiet import quiet_hours
from bot.alerts.reporter import AlertReporter
from bot.alerts.telegram import TelegramChannel
from bot.alerts.webhook import WebhookChannel
from bot.config.alert_channels import missing_of
from bot.config.settings import AlertsSettings, Settings
from bot.health.retrying import Retries
from bot.upkeep.keep_running import at_work, keep_running
from calls.alert import AlertRules
from calls.entry import Tell
from storage.alert_outbox import AlertOutbox


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
