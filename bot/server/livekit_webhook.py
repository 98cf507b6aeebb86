"""What LiveKit's webhook says, once it is known that LiveKit says it."""

import base64
import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import jwt
from google.protobuf.json_format import Parse, ParseError
from livekit import api
from pydantic import SecretStr

MOST_BYTES: Final = 64 * 1024  # an event has about 2 kB
MOST_AGE_S: Final = 60.0  # LiveKit sends again for some seconds; what is older is no news
KEPT_IDS: Final = 2_000  # a call makes about ten events


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRefusal:
    """What was sent is nothing that we take."""

    reason: str
    status: HTTPStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomNews:
    """Something happened in a room."""

    event: str  # room_started, participant_joined, ...
    room: str
    sid: str
    by_phone: bool = False  # it is of a telephone in it


_TOO_BIG: Final = WebhookRefusal(
    reason="webhook_too_big", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE
)
_UNSIGNED: Final = WebhookRefusal(reason="wrong_signature", status=HTTPStatus.UNAUTHORIZED)
_ALTERED: Final = WebhookRefusal(reason="wrong_body_hash", status=HTTPStatus.UNAUTHORIZED)
_UNREADABLE: Final = WebhookRefusal(reason="webhook_is_no_event", status=HTTPStatus.BAD_REQUEST)
_KNOWN: Final = WebhookRefusal(reason="webhook_again", status=HTTPStatus.OK)
_OLD: Final = WebhookRefusal(reason="webhook_too_old", status=HTTPStatus.OK)


class WebhookReader:
    """Reads events that bear the signature of our key, each once.

    Source: docs.livekit.io, "Webhooks and events": a token signed with the API secret, whose claim
    `sha256` is the body's hash in base64.
    """

    def __init__(self, *, api_key: SecretStr, api_secret: SecretStr) -> None:
        self._verifier = api.TokenVerifier(
            api_key.get_secret_value(), api_secret.get_secret_value()
        )
        self._seen: OrderedDict[str, None] = OrderedDict()

    def read(self, body: bytes, proof: str, *, now_s: float) -> RoomNews | WebhookRefusal:
        """Return what an event says.

        Args:
            body: Of the request.
            proof: Its `Authorization`.
            now_s: The time of day, seconds since 1970.
        """
        refusal = self._refusal(body, proof.removeprefix("Bearer "))
        return refusal or self._event(body, now_s)

    def _event(self, body: bytes, now_s: float) -> RoomNews | WebhookRefusal:
        try:
            event = Parse(body, api.WebhookEvent(), ignore_unknown_fields=True)
        except (ParseError, UnicodeDecodeError):
            return _UNREADABLE
        if not event.event or not event.id:
            return _UNREADABLE
        if event.id in self._seen:
            return _KNOWN
        self._remember(event.id)
        if now_s - event.created_at > MOST_AGE_S:
            return _OLD
        by_phone = event.participant.kind == api.ParticipantInfo.SIP
        return RoomNews(
            event=event.event, room=event.room.name, sid=event.room.sid, by_phone=by_phone
        )

    def _refusal(self, body: bytes, token: str) -> WebhookRefusal | None:
        if len(body) > MOST_BYTES:
            return _TOO_BIG
        try:
            claimed = base64.b64decode(self._verifier.verify(token).sha256 or "", validate=True)
        except (jwt.PyJWTError, ValueError, TypeError):
            return _UNSIGNED
        is_whole = hmac.compare_digest(claimed, hashlib.sha256(body).digest())
        return None if is_whole else _ALTERED

    def _remember(self, event_id: str) -> None:
        self._seen[event_id] = None
        while len(self._seen) > KEPT_IDS:
            self._seen.popitem(last=False)


def begins_call(news: RoomNews, prefix: str) -> bool:
    """Say whether a call may be beginning: in a room of the dispatch rule's, and in no other.

    The room is the first thing that a call makes; a telephone in it says the same once more, for
    whoever has missed that.
    """
    if not news.room.startswith(prefix):
        return False
    return news.event == "room_started" or (news.event == "participant_joined" and news.by_phone)
