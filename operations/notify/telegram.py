"""Alerts by Telegram: one message per incident, updated as the incident changes.

The bot's token is in the path of every address, so no address is logged or reported here.
Source: https://core.telegram.org/bots/api (sendMessage, editMessageText, ResponseParameters).
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from configuration.alerts import TelegramSettings
from fallbacks.retry_after import retry_after_s
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import POST_S, AlertText, Channel
from operations.remote import MAX_WAIT_S, ask_remote, refused
from runtime.http import parse_object

MAX_CHARACTERS: Final = 4096  # characters of a message
MAX_TELEGRAM_ANSWER_BYTES: Final = 256 << 10  # of an answer, which contains the message again
UNCHANGED: Final = "message is not modified"
CANNOT_EDIT: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")


def telegram_channel(settings: TelegramSettings) -> Channel:
    """Return a channel to one chat; token and chat must both be set."""
    token = settings.bot_token.get_secret_value() if settings.bot_token else ""
    address = f"{settings.api_url.rstrip('/')}/bot{token}/"
    chat = settings.chat_id or ""

    async def send(method: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request; if the chat has moved to a new id, use that from now on."""
        nonlocal chat
        status, answer, wait_s = await _post_to_telegram(
            address + method, {"chat_id": chat, **fields}
        )
        moved = _parameters_in_answer(answer).get("migrate_to_chat_id")
        if isinstance(moved, int | str) and moved:
            chat = str(moved)
            status, answer, wait_s = await _post_to_telegram(
                address + method, {"chat_id": chat, **fields}
            )
        return _message_from_answer(method, status, answer, wait_s)

    async def post_alert(post: ChannelPost, text: AlertText) -> str:
        """Update the earlier message, or send one if none can be updated; return its number."""
        fields = {
            "text": text.whole[:MAX_CHARACTERS],
            "link_preview_options": {"is_disabled": True},
        }
        if post.handle:
            changed = await send("editMessageText", {**fields, "message_id": int(post.handle)})
            if changed is not None:
                return post.handle
        sent = await send("sendMessage", fields)
        number = (sent or {}).get("message_id")
        return str(number) if isinstance(number, int) else ""  # if empty, it is never updated

    return Channel(name="telegram", edits=True, place=f"chat {chat}", post=post_alert)


async def _post_to_telegram(
    address: str, fields: dict[str, Any]
) -> tuple[int, dict[str, Any], float | None]:
    """Return status, answer and the wait that is asked for.

    An invalid answer, as from another server, is empty.
    """
    body = json.dumps(fields).encode()
    status, headers, text = await ask_remote(
        "POST",
        address,
        timeout_s=POST_S,
        body=body,
        headers={},
        most_bytes=MAX_TELEGRAM_ANSWER_BYTES,
    )
    answer = parse_object(text)
    return status, answer, _wait_s(answer, headers)


def _message_from_answer(
    method: str, status: int, answer: dict[str, Any], wait_s: float | None
) -> dict[str, Any] | None:
    """Return the message; `None` if the earlier one cannot be updated, so that a new one is sent.

    Raises:
        RemoteError: Telegram refused the request.
    """
    if answer.get("ok"):
        result = answer.get("result")
        return result if isinstance(result, dict) else {}
    why = str(answer.get("description", ""))
    if UNCHANGED in why.lower():
        return {}
    if method == "editMessageText" and any(item in why.lower() for item in CANNOT_EDIT):
        return None
    raise refused(status, why, retry_after_s=wait_s)


def _parameters_in_answer(answer: dict[str, Any]) -> dict[str, Any]:
    hints = answer.get("parameters")
    return hints if isinstance(hints, dict) else {}


def _wait_s(answer: dict[str, Any], headers: Mapping[str, str]) -> float | None:
    """Return the wait that Telegram, or a proxy in front of it, asks for, up to `MAX_WAIT_S`.

    `None` if it asks for none.
    """
    asked_s = _parameters_in_answer(answer).get("retry_after")
    if isinstance(asked_s, bool) or not isinstance(asked_s, int | float) or not asked_s > 0:
        asked_s = retry_after_s(headers)
    return None if asked_s is None else min(float(asked_s), MAX_WAIT_S)
