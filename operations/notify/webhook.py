"""Alerts to an address of the operator, signed as in Standard Webhooks.

The message id is the alert's key and revision, so a receiver can detect a repeat.
Source: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from bot.config.alerts import WebhookSettings
from bot.http import request
from fallbacks.retry_after import retry_after_s
from operations.notify.channel import POST_S, AlertText, as_json, refused, unanswered
from operations.notify.outbox import ChannelPost

PREFIX: Final = "whsec_"
MOST_WAIT_S: Final = 3600.0  # whatever a receiver asks for


class WebhookChannel:
    """Posts each change of an alert as JSON."""

    name = "webhook"
    edits = True

    def __init__(self, settings: WebhookSettings, *, utc_s: Callable[[], float]) -> None:
        """Send to the address in `settings`, which must be set; `utc_s` dates the signatures."""
        self._url = settings.url or ""
        self._secret = settings.secret.get_secret_value() if settings.secret else ""
        self._utc_s = utc_s

    @property
    def place(self) -> str:
        """Return the host only: knowing the whole address is enough to post there."""
        signed = "" if self._secret else ", not signed: WEBHOOK_SECRET is not set"
        return f"{urlsplit(self._url).hostname}{signed}"

    async def post(self, post: ChannelPost, text: AlertText) -> str:
        """Post the current alert."""
        alert = post.alert
        kind = "alert.updated" if alert.revision > 1 else "alert.opened"
        kind = kind if alert.ended_s is None else "alert.resolved"
        at = str(int(self._utc_s()))
        body = json.dumps(
            {"type": kind, "timestamp": at, "data": as_json(alert) | {"text": text.whole}}
        )
        known = {"webhook-id": f"{alert.key}.{alert.revision}", "webhook-timestamp": at}
        if self._secret:
            signed = signature(self._secret, f"{known['webhook-id']}.{at}.{body}")
            known["webhook-signature"] = signed
        await self._send(body.encode(), known | {"content-type": "application/json"})
        return known["webhook-id"]

    async def _send(self, body: bytes, told: dict[str, str]) -> None:
        try:
            async with (
                asyncio.timeout(POST_S),
                request("POST", self._url, data=body, headers=told, allow_redirects=False) as said,
            ):
                status, headers = said.status, said.headers
        except (TimeoutError, ValueError, aiohttp.ClientError, OSError) as error:
            raise unanswered(error) from None  # its text may hold the address
        if not 200 <= status < 300:
            wait_s = retry_after_s(headers, utc_s=self._utc_s())
            raise refused(status, retry_after_s=wait_s and min(wait_s, MOST_WAIT_S))


def signature(secret: str, signed: str) -> str:
    """Return the value of `webhook-signature`: version, comma, HMAC-SHA256 in base64."""
    packed = secret.removeprefix(PREFIX)
    key = base64.b64decode(packed + "=" * (-len(packed) % 4))
    found = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(found).decode()}"
