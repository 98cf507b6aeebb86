"""Alerts by Telegram: one message an incident, updated as it changes.

The bot's token is in the path of every address, so no address is logged or reported here.
Source: https://core.telegram.org/bots/api (sendMessage, editMessageText, ResponseParameters).
"""

import asyncio
import json
from typing import Any, Final

import aiohttp

from bot.config.alerts import TelegramSettings
from bot.http import request
from operations.notify.channel import POST_S, AlertText, refused, unanswered
from operations.notify.outbox import ChannelPost

LONGEST: Final = 4096  # characters of a message
UNCHANGED: Final = "message is not modified"
GONE: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")


class TelegramChannel:
    """Sends to one chat."""

    name = "telegram"
    edits = True

    def __init__(self, settings: TelegramSettings) -> None:
        """Use `settings`; token and chat must both be set."""
        token = settings.bot_token.get_secret_value() if settings.bot_token else ""
        self._address = f"{settings.api_url.rstrip('/')}/bot{token}/"
        self._chat = settings.chat_id or ""

    @property
    def place(self) -> str:
        """Return the chat."""
        return f"chat {self._chat}"

    async def post(self, post: ChannelPost, text: AlertText) -> str:
        """Send a message, or update the earlier one; return its number."""
        said = {"text": text.whole[:LONGEST], "link_preview_options": {"is_disabled": True}}
        if post.handle:
            changed = await self._ask("editMessageText", {**said, "message_id": int(post.handle)})
            if changed is not None:
                return post.handle
        sent = await self._ask("sendMessage", said)
        return str((sent or {}).get("message_id", ""))

    async def _ask(self, method: str, said: dict[str, Any]) -> dict[str, Any] | None:
        """Return the message; `None` if the one to update no longer exists."""
        status, answer = await self._request(method, said)
        if answer.get("ok"):
            result = answer.get("result")
            return result if isinstance(result, dict) else {}
        hints = answer.get("parameters") or {}
        if moved := hints.get("migrate_to_chat_id"):
            self._chat = str(moved)
            return await self._ask(method, said)
        why = str(answer.get("description", ""))
        if UNCHANGED in why.lower():
            return {}
        if method == "editMessageText" and any(item in why.lower() for item in GONE):
            return None
        raise refused(status, why, retry_after_s=hints.get("retry_after"))

    async def _request(self, method: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            async with (
                asyncio.timeout(POST_S),
                request(
                    "POST",
                    self._address + method,
                    json={"chat_id": self._chat, **said},
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status, _read(await answer.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise unanswered(error) from None  # its text may hold the address


def _read(body: bytes) -> dict[str, Any]:
    """Parse an answer; return an empty one if it is invalid, as from another server."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
