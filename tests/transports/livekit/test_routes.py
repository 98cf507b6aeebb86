"""Which webhooks are accepted, signed as LiveKit signs them."""

import base64
import hashlib
import json
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from livekit import api
from pydantic import SecretStr

from transports.livekit.routes import (
    KEPT_IDS,
    MAX_AGE_S,
    MAX_EVENT_BYTES,
    RoomNews,
    WebhookReader,
    WebhookRefusal,
    begins_call,
)

KEY, SECRET = "a-key", "a-secret-of-at-least-thirty-two-characters"
NOW_S = 1_800_000_000.0
ROOM = {"name": "call-_+15550199_x", "sid": "RM_1"}
PHONE = {"identity": "sip_+15550199", "kind": "SIP"}


def reader() -> WebhookReader:
    return WebhookReader(api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))


def event(**fields: Any) -> bytes:
    plain = {"event": "room_started", "id": "EV_1", "createdAt": str(int(NOW_S)), "room": ROOM}
    return json.dumps(plain | fields).encode()


def proof(
    body: bytes,
    *,
    key: str = KEY,
    secret: str = SECRET,
    hashed: str | None = None,
    for_s: float = 21_600.0,  # some are made when tests are collected, and used much later
) -> str:
    claim = base64.b64encode(hashlib.sha256(body).digest()).decode() if hashed is None else hashed
    token = api.AccessToken(key, secret).with_sha256(claim).with_ttl(timedelta(seconds=for_s))
    return token.to_jwt()


def test_a_signed_event_is_read() -> None:
    body = event(event="participant_joined", participant=PHONE)

    assert reader().read(body, proof(body), now_s=NOW_S) == RoomNews(
        event="participant_joined", room=ROOM["name"], sid="RM_1", by_phone=True
    )


def test_fields_of_a_newer_server_are_ignored() -> None:
    body = event(weather="fine")

    assert isinstance(reader().read(body, proof(body), now_s=NOW_S), RoomNews)


BODY = event()
TORN = b'{"event": "room_st'
NAMELESS = event(id="")
NOT_TEXT = b"\xff\xfe"
BIG = event(padding="x" * MAX_EVENT_BYTES)


@pytest.mark.parametrize(
    ("body", "shown", "reason", "status"),
    [
        (BODY, "", "wrong_signature", HTTPStatus.UNAUTHORIZED),
        (BODY, "not.a.token", "wrong_signature", HTTPStatus.UNAUTHORIZED),
        (BODY, proof(BODY, secret="x" * 40), "wrong_signature", HTTPStatus.UNAUTHORIZED),
        (BODY, proof(BODY, key="another"), "wrong_signature", HTTPStatus.UNAUTHORIZED),
        (BODY, proof(BODY, for_s=-300.0), "wrong_signature", HTTPStatus.UNAUTHORIZED),
        (BODY, proof(BODY, hashed="*"), "wrong_signature", HTTPStatus.UNAUTHORIZED),
        (BODY, proof(BODY, hashed=""), "wrong_body_hash", HTTPStatus.UNAUTHORIZED),
        (BODY, proof(event(id="EV_2")), "wrong_body_hash", HTTPStatus.UNAUTHORIZED),
        (TORN, proof(TORN), "webhook_is_no_event", HTTPStatus.BAD_REQUEST),
        (NOT_TEXT, proof(NOT_TEXT), "webhook_is_no_event", HTTPStatus.BAD_REQUEST),
        (NAMELESS, proof(NAMELESS), "webhook_is_no_event", HTTPStatus.BAD_REQUEST),
        (BIG, proof(BIG), "webhook_too_big", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
    ids=[
        "no token",
        "no token at all",
        "signed with another secret",
        "of another key",
        "too old a token",
        "a hash that is none",
        "no hash",
        "the hash of another event",
        "torn",
        "not text",
        "without an id",
        "too big",
    ],
)
def test_invalid_webhooks_are_refused_with_a_reason(
    body: bytes, shown: str, reason: str, status: HTTPStatus
) -> None:
    refused = reader().read(body, shown, now_s=NOW_S)

    assert refused == WebhookRefusal(reason=reason, status=status)


def test_an_unsigned_token_is_refused() -> None:
    head, claims, _ = proof(BODY).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()

    refused = reader().read(BODY, f"{none}.{claims}.", now_s=NOW_S)

    assert head
    assert refused == WebhookRefusal(reason="wrong_signature", status=HTTPStatus.UNAUTHORIZED)


def test_an_event_counts_once() -> None:
    read = reader()
    first = read.read(BODY, proof(BODY), now_s=NOW_S)

    again = read.read(BODY, proof(BODY), now_s=NOW_S + 1.0)

    assert isinstance(first, RoomNews)
    assert again == WebhookRefusal(reason="webhook_again", status=HTTPStatus.OK)


def test_an_old_event_is_ignored() -> None:
    late = reader().read(BODY, proof(BODY), now_s=NOW_S + MAX_AGE_S + 1.0)

    assert late == WebhookRefusal(reason="webhook_too_old", status=HTTPStatus.OK)


def test_the_number_of_remembered_events_is_bounded() -> None:
    read = reader()
    for number in range(KEPT_IDS + 1):
        body = event(id=f"EV_{number}")
        read.read(body, proof(body), now_s=NOW_S)
    first = event(id="EV_0")

    again = read.read(first, proof(first), now_s=NOW_S)

    assert isinstance(again, RoomNews)


@pytest.mark.parametrize(
    ("name", "room", "by_phone", "begins"),
    [
        ("room_started", "call-_1_x", False, True),
        ("participant_joined", "call-_1_x", True, True),
        ("participant_joined", "call-_1_x", False, False),
        ("participant_left", "call-_1_x", True, False),
        ("room_finished", "call-_1_x", False, False),
        ("track_published", "call-_1_x", True, False),
        ("room_started", "meeting", False, False),
        ("participant_joined", "out-1", True, False),
        ("room_started", "", False, False),
    ],
)
def test_only_some_events_begin_a_call(
    name: str, room: str, *, by_phone: bool, begins: bool
) -> None:
    news = RoomNews(event=name, room=room, sid="RM_1", by_phone=by_phone)

    assert begins_call(news, "call-") is begins
