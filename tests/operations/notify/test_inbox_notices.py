"""Notices of callbacks and messages: once by each channel, without numbers, later if refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configuration.alerts import WebhookSettings
from fallbacks.retrying import RetrySettings
from operations.database.database import Database
from operations.inbox.notices import InboxNotices
from operations.inbox.store import Inbox
from operations.notify.channel import Channel
from operations.notify.webhook import webhook_channel
from operations.record.callbacks import Callback, Callbacks
from operations.retrying import Retries
from tests.operations.notify.conftest import Receiver

NOW = 1_800_000_000.0
NUMBER = "+15551230101"


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db") as database:
        asked_at = datetime.fromtimestamp(NOW - 60, UTC)
        await Callbacks(database).add(
            Callback(call_id="c1", number=NUMBER, reason="a new contract", asked_at=asked_at)
        )
        yield Inbox(database)


def notices(inbox: Inbox, *channels: Channel) -> InboxNotices:
    settings = RetrySettings(initial_s=0.01, factor=1.0, attempts=0)
    return InboxNotices(
        inbox,
        channels,
        retries=Retries(settings=settings, emit=lambda _: None),
        quiet=lambda _: False,
        leads=lambda: True,
        utc_s=lambda: NOW,
    )


def channel_to(receiver: Receiver) -> Channel:
    return webhook_channel(WebhookSettings(url=f"{receiver.url}/s3cret"), utc_s=lambda: NOW)


async def test_a_notice_is_sent_once_and_its_number_is_masked(
    inbox: Inbox, receiver: Receiver
) -> None:
    sending = notices(inbox, channel_to(receiver))
    for _ in range(2):
        await sending.send_waiting()

    ((_, _, body, said),) = receiver.asked
    assert said["data"]["key"] == "inbox-callback-c1"
    assert said["data"]["text"].startswith("Callback wanted by +1555****01\n")
    assert "a new contract" in said["data"]["text"]
    assert NUMBER.encode() not in body


async def test_a_refused_notice_is_sent_later(inbox: Inbox, receiver: Receiver) -> None:
    receiver.answers = [(503, {})]
    sending = notices(inbox, channel_to(receiver))

    await sending.send_waiting()
    await sending.send_waiting()
    await sending.send_waiting()

    assert len(receiver.asked) == 2


async def test_without_a_channel_no_notice_counts_as_sent(inbox: Inbox) -> None:
    await notices(inbox).send_waiting()

    assert len(await inbox.untold(now=datetime.fromtimestamp(NOW, UTC), limit=9)) == 1
