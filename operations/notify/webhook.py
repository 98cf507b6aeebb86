"""Alerts to an address of the operator, signed as in Standard Webhooks."""

from collections.abc import Callable
from urllib.parse import urlsplit

from configuration.alerts import WebhookSettings
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import POST_S, AlertText, Channel, alert_as_json
from operations.remote import check_accepted, post_signed


def webhook_channel(settings: WebhookSettings, *, utc_s: Callable[[], float]) -> Channel:
    """Return a channel to the address in `settings`, which must be set; `utc_s` dates messages."""
    url = settings.url or ""
    secret = settings.secret.get_secret_value() if settings.secret else ""

    async def post_alert(post: ChannelPost, text: AlertText) -> str:
        """Post the alert; its id is key and revision, so that a receiver can detect a repeat."""
        alert, now = post.alert, utc_s()
        kind = "alert.updated" if alert.revision > 1 else "alert.opened"
        kind = kind if alert.ended_s is None else "alert.resolved"
        message_id = f"{alert.key}.{alert.revision}"
        data = alert_as_json(alert) | {"text": text.whole}
        status, headers = await post_signed(
            url, kind, data, message_id=message_id, secret=secret, now=now, timeout_s=POST_S
        )
        check_accepted(status, headers, now=now)
        return message_id

    # The host only: knowing the whole address is enough to post there.
    signed = "" if secret else ", not signed: WEBHOOK_SECRET is not set"
    place = f"{urlsplit(url).hostname}{signed}"
    return Channel(name="webhook", edits=True, place=place, post=post_alert)
