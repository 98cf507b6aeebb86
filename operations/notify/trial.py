"""Sends one test alert through each channel: a line each."""

import asyncio
from collections.abc import Callable
from typing import Final

from bot.config.alert_channels import missing_of
from bot.config.settings import AlertsSettings
from bot.exits import DONE, FAILED
from fallbacks.failure import Severity
from operations.notify.alert import Alert
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import Channel, ChannelError
from operations.notify.message import alert_text, masked
from operations.notify.opening import channels_of, utc_s

NONE: Final = (
    "no channel is configured: set EMAIL_FROM and EMAIL_TO, "
    "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, or WEBHOOK_URL"
)


async def try_channels(settings: AlertsSettings, *, say: Callable[[str], object]) -> int:
    """Return the exit code: 1 when one channel fails, is half configured, or there is none."""
    channels, missing = channels_of(settings), list(missing_of(settings))
    alert = trial_alert(utc_s())
    lines = await asyncio.gather(*(_try(each, alert) for each in channels))
    for _, line in lines:
        say(line)
    for each in missing:
        say(each)
    if not (channels or missing):
        say(NONE)
    return DONE if lines and not missing and all(sent for sent, _ in lines) else FAILED


def trial_alert(now: float) -> Alert:
    """Return an alert that says of itself that nothing is wrong."""
    return Alert(
        key=f"test-{round(now * 1000)}",
        stage="test",
        rung="",
        kind="of_this_channel",
        severity=Severity.LOW,
        reason="somebody has run: holdline alerts test. Nothing is wrong",
        then="",
        began_s=now,
        open_s=now,
        heard_s=now,
        revision=1,
    )


async def _try(channel: Channel, alert: Alert) -> tuple[bool, str]:
    post = ChannelPost(alert=alert, channel=channel.name, handle="")
    try:
        await channel.post(post, alert_text(alert))
    except ChannelError as error:
        said = ": ".join((masked(error.reason), *([", ".join(error.whom)] if error.whom else [])))
        return False, f"{channel.name}: failed: {said} ({channel.place})"
    return True, f"{channel.name}: sent ({channel.place})"
