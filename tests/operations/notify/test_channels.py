"""Each channel against a real server of its kind on loopback."""

import base64
import hashlib
import hmac
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import SecretStr

from configuration.alerts import EmailSettings, TelegramSettings, WebhookSettings
from fallbacks.failure import Kind, Severity
from operations.notify.alert import Alert
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import Channel, alert_text
from operations.notify.mail import mail_channel
from operations.notify.telegram import telegram_channel
from operations.notify.webhook import webhook_channel
from operations.remote import MAX_WAIT_S, RemoteError
from tests.operations.notify.conftest import Inbox, Receiver

NOW = 1_800_000_000.0
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
TOKEN = "12345:a-token-of-a-bot"
SIGN_IN_WAYS = 2  # LOGIN and PLAIN: the client tries both
ALERT = Alert(
    key="tts-cartesia-1800000000000",
    stage="tts",
    rung="cartesia",
    kind="auth",
    severity=Severity.HIGH,
    reason="answered 401 to Bearer abcdefgh12345678\r\nBcc: somebody@else",
    then="elevenlabs answers instead",
    began_s=NOW,
    open_s=NOW,
    heard_s=NOW,
    callers=3,
    revision=1,
)
RESOLVED = replace(ALERT, revision=2, ended_s=NOW + 60, lasted_s=60.0, how="recovered")


def clock() -> float:
    return NOW


def post_of(alert: Alert, handle: str = "") -> ChannelPost:
    return ChannelPost(alert=alert, channel="any", handle=handle)


def to_mail(inbox: Inbox, **changes: Any) -> Channel:
    settings = {"sender": "holdline@example.com", "to": "mary@example.com, bob@example.com"}
    settings |= {"host": inbox.host, "port": inbox.port, **changes}
    return mail_channel(EmailSettings(**settings), utc_s=clock)


def to_telegram(receiver: Receiver) -> Channel:
    settings = TelegramSettings(bot_token=SecretStr(TOKEN), chat_id="-42", api_url=receiver.url)
    return telegram_channel(settings)


def to_webhook(receiver: Receiver, secret: str | None = SECRET) -> Channel:
    signs = SecretStr(secret) if secret else None
    settings = WebhookSettings(url=f"{receiver.url}/hook/s3cret-place", secret=signs)
    return webhook_channel(settings, utc_s=clock)


async def test_a_mail_describes_the_incident_and_contains_no_key_and_no_injected_header(
    inbox: Inbox,
) -> None:
    await to_mail(inbox).post(post_of(ALERT), alert_text(ALERT))

    (mail,) = inbox.mails
    assert mail["Subject"].strip().startswith("[Holdline] HIGH: answered 401 to ")
    assert mail["Bcc"] is None
    assert "abcdefgh12345678" not in mail.as_string()
    assert "Elevenlabs answers instead.\r\nPut a valid key" in mail.get_content()


async def test_the_mails_of_an_incident_are_one_conversation_and_a_repeat_is_the_same_mail(
    inbox: Inbox,
) -> None:
    channel = to_mail(inbox)
    for item in (ALERT, ALERT, RESOLVED):
        await channel.post(post_of(item), alert_text(item))

    first, again, last = inbox.mails
    assert first["Message-ID"] == again["Message-ID"] != last["Message-ID"]
    assert first["References"] == last["References"]
    assert last["Subject"].strip().startswith("[Holdline] RESOLVED")
    assert "after 60 s (recovered). 3 callers got no answer." in last.get_content()


async def test_the_mails_of_an_incident_with_a_long_name_are_one_conversation(
    inbox: Inbox,
) -> None:
    channel = to_mail(inbox)
    for name in ("appointment_reminders_2026_north", "appointment_reminders_2026_south"):
        for revision in (1, 2):
            alert = replace(ALERT, key=f"campaign-{name}-1800000000000", revision=revision)
            await channel.post(post_of(alert), alert_text(alert))

    raw = [mail.as_string() for mail in inbox.mails]
    assert all("\nReferences: <campaign-appointment-re" in item for item in raw)
    first, last, other, _ = (str(mail["References"]) for mail in inbox.mails)
    assert first == last != other
    assert len({mail["Message-ID"] for mail in inbox.mails}) == 4


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [("451 later", Kind.OVERLOADED), ("554 never", Kind.BAD_REQUEST)],
)
async def test_a_mail_servers_refusal_is_temporary_or_permanent(
    inbox: Inbox, refusal: str, kind: Kind
) -> None:
    inbox.refusal = refusal

    with pytest.raises(RemoteError) as refused:
        await to_mail(inbox).post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.kind is kind


async def test_a_temporarily_refused_recipient_is_tried_again_and_the_others_are_not(
    inbox: Inbox,
) -> None:
    inbox.refused = {"bob@example.com": "451 later"}
    channel = to_mail(inbox)

    with pytest.raises(RemoteError):
        await channel.post(post_of(ALERT), alert_text(ALERT))
    with pytest.raises(RemoteError, match="answered 451 to 1 of 2 recipients") as refused:
        await channel.post(post_of(ALERT), alert_text(ALERT))
    inbox.refused = {}
    await channel.post(post_of(ALERT), alert_text(ALERT))

    assert (refused.value.kind, refused.value.whom) == (Kind.OVERLOADED, ("bob@example.com",))
    assert inbox.went_to == [["mary@example.com"], ["bob@example.com"]]


async def test_a_permanently_refused_recipient_is_reported_and_not_tried_again(
    inbox: Inbox,
) -> None:
    channel = to_mail(inbox)
    inbox.refused = {"bob@example.com": "550 nobody", "mary@example.com": "451 later"}
    with pytest.raises(RemoteError):
        await channel.post(post_of(ALERT), alert_text(ALERT))
    inbox.refused = {"bob@example.com": "250 once more"}

    with pytest.raises(RemoteError, match="answered 550 to 1 of 2 recipients") as refused:
        await channel.post(post_of(ALERT), alert_text(ALERT))

    assert (refused.value.kind, refused.value.reached_others) == (Kind.BAD_REQUEST, True)
    assert inbox.went_to == [["mary@example.com"]]
    assert "bob" not in refused.value.reason


async def test_if_every_recipient_is_refused_the_mail_was_not_sent(inbox: Inbox) -> None:
    inbox.refused = {"mary@example.com": "550 nobody", "bob@example.com": "550 nobody"}

    with pytest.raises(RemoteError) as refused:
        await to_mail(inbox).post(post_of(ALERT), alert_text(ALERT))

    assert (refused.value.kind, refused.value.reached_others) == (Kind.BAD_REQUEST, False)


async def test_no_password_is_sent_in_the_clear_over_a_network(inbox: Inbox) -> None:
    channel = to_mail(inbox, security="starttls", password=SecretStr("s3cret"))

    with pytest.raises(RemoteError, match="no encryption"):
        await channel.post(post_of(ALERT), alert_text(ALERT))
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("sender", "username", "signs_in"),
    [
        ("Holdline <holdline@example.com>", None, b"holdline@example.com"),
        ("Holdline <holdline@example.com>", "apikey", b"apikey"),
    ],
)
async def test_the_login_is_the_plain_address_with_a_password_of_any_letters(
    inbox: Inbox, sender: str, username: str | None, signs_in: bytes
) -> None:
    channel = to_mail(inbox, sender=sender, username=username, password=SecretStr("schlüssel"))

    await channel.post(post_of(ALERT), alert_text(ALERT))

    assert inbox.signed_in == [(signs_in, "schlüssel".encode())]
    assert inbox.mails[0]["From"] == sender


@pytest.mark.parametrize("to", ["b@example.com\nc@example.com", "bé@example.com"])
async def test_an_address_that_no_mail_can_carry_is_a_failure_of_the_channel(
    inbox: Inbox, to: str
) -> None:
    with pytest.raises(RemoteError) as refused:
        await to_mail(inbox, to=to).post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.kind is Kind.BAD_REQUEST
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("535 5.7.8 no", Kind.AUTH), ("454 4.7.0 not now", Kind.OVERLOADED)],
)
async def test_a_mail_is_repeated_whole_after_a_failed_sign_in(
    inbox: Inbox, answer: str, kind: Kind
) -> None:
    channel = to_mail(inbox, password=SecretStr("s3cret"))
    inbox.sign_in_answers = [answer] * SIGN_IN_WAYS

    with pytest.raises(RemoteError) as refused:
        await channel.post(post_of(ALERT), alert_text(ALERT))
    await channel.post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.kind is kind
    assert inbox.went_to == [["mary@example.com", "bob@example.com"]]


async def test_after_a_failed_sign_in_a_mail_skips_recipients_who_already_have_it(
    inbox: Inbox,
) -> None:
    channel = to_mail(inbox, password=SecretStr("s3cret"))
    inbox.refused = {"bob@example.com": "451 later"}
    with pytest.raises(RemoteError):
        await channel.post(post_of(ALERT), alert_text(ALERT))
    inbox.refused, inbox.sign_in_answers = {}, ["454 4.7.0 not now"] * SIGN_IN_WAYS
    with pytest.raises(RemoteError):
        await channel.post(post_of(ALERT), alert_text(ALERT))

    await channel.post(post_of(ALERT), alert_text(ALERT))

    assert inbox.went_to == [["mary@example.com"], ["bob@example.com"]]


async def test_one_incident_is_one_message_in_the_chat(receiver: Receiver) -> None:
    channel = to_telegram(receiver)

    handle = await channel.post(post_of(ALERT), alert_text(ALERT))
    again = await channel.post(post_of(RESOLVED, handle), alert_text(RESOLVED))

    (_, _, _, sent), (_, _, _, edited) = receiver.asked
    paths = [path.rpartition("/")[2] for path, *_ in receiver.asked]
    assert paths == ["sendMessage", "editMessageText"]
    assert handle == again == "101"
    assert (sent["chat_id"], edited["message_id"]) == ("-42", 101)
    assert edited["text"].startswith("RESOLVED: answered 401 to ")


@pytest.mark.parametrize(
    ("parameters", "headers"), [({"retry_after": 37}, {}), ({}, {"Retry-After": "37"})]
)
async def test_telegrams_requested_wait_is_kept(
    receiver: Receiver, parameters: dict[str, int], headers: dict[str, str]
) -> None:
    told = {"ok": False, "description": "Too Many Requests", "parameters": parameters}
    receiver.answers, receiver.headers = [(429, told)], headers

    with pytest.raises(RemoteError) as refused:
        await to_telegram(receiver).post(post_of(ALERT), alert_text(ALERT))

    assert (refused.value.kind, refused.value.retry_after_s) == (Kind.RATE_LIMITED, 37)
    assert TOKEN not in str(refused.value)


async def test_an_unchanged_message_is_no_failure(receiver: Receiver) -> None:
    why = "Bad Request: message is not modified: specified new content"
    receiver.answers = [(400, {"ok": False, "description": why})]

    assert await to_telegram(receiver).post(post_of(ALERT, "7"), alert_text(ALERT)) == "7"


async def test_a_deleted_message_is_sent_again(receiver: Receiver) -> None:
    why = "Bad Request: message to edit not found"
    receiver.answers = [(400, {"ok": False, "description": why})]

    assert await to_telegram(receiver).post(post_of(ALERT, "7"), alert_text(ALERT)) == "101"


async def test_a_group_that_was_migrated_is_followed(receiver: Receiver) -> None:
    moved = {"ok": False, "description": "moved", "parameters": {"migrate_to_chat_id": -100}}
    receiver.answers = [(400, moved)]

    await to_telegram(receiver).post(post_of(ALERT), alert_text(ALERT))

    assert receiver.asked[-1][3]["chat_id"] == "-100"


async def test_an_answer_of_another_server_is_reported_by_its_status(receiver: Receiver) -> None:
    receiver.answers = [(502, ["no", "object"])]

    with pytest.raises(RemoteError) as refused:
        await to_telegram(receiver).post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.kind is Kind.OVERLOADED


async def test_a_webhook_is_signed_over_identity_time_and_body(receiver: Receiver) -> None:
    await to_webhook(receiver).post(post_of(ALERT), alert_text(ALERT))

    (_, headers, body, said) = receiver.asked[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == f"{ALERT.key}.1"
    assert (said["type"], said["data"]["severity"]) == ("alert.opened", "HIGH")


@pytest.mark.parametrize(
    ("asked", "wait_s"),
    [
        ("37", 37.0),
        (formatdate(NOW + 90.0, usegmt=True), 90.0),
        (formatdate(NOW + 86_400.0, usegmt=True), MAX_WAIT_S),
        ("soon", None),
    ],
)
async def test_a_webhooks_requested_wait_is_kept(
    receiver: Receiver, asked: str, wait_s: float | None
) -> None:
    receiver.answers, receiver.headers = [(503, {})], {"Retry-After": asked}

    with pytest.raises(RemoteError) as refused:
        await to_webhook(receiver).post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.retry_after_s == wait_s


async def test_a_failing_webhooks_address_is_not_printed(receiver: Receiver) -> None:
    receiver.answers = [(503, {})]
    channel = to_webhook(receiver, None)

    with pytest.raises(RemoteError) as refused:
        await channel.post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.kind is Kind.OVERLOADED
    assert "s3cret-place" not in f"{refused.value} {channel.place}"


async def test_an_unreachable_address_is_not_named_in_the_failure() -> None:
    settings = TelegramSettings(
        bot_token=SecretStr(TOKEN), chat_id="1", api_url="http://127.0.0.1:1"
    )

    with pytest.raises(RemoteError) as refused:
        await telegram_channel(settings).post(post_of(ALERT), alert_text(ALERT))

    assert refused.value.kind is Kind.NETWORK
    assert TOKEN not in str(refused.value)
    assert refused.value.__cause__ is None
