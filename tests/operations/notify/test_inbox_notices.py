"""Notices of callbacks and messages: once by each channel, without numbers, later if refused."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.workers.pool import NoPeers
from configuration.alerts import WebhookSettings
from fallbacks.failure import Kind
from fallbacks.retrying import RetrySettings
from operations.database.database import Database
from operations.inbox.notices import InboxNotices
from operations.inbox.store import Inbox
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import AlertText, Channel
from operations.notify.webhook import webhook_channel
from operations.record.callbacks import Callback, Callbacks
from operations.remote import RemoteError
from operations.retrying import Retries
from tests.operations.notify.conftest import Receiver
from transports.pool import Peers, claimed

NOW = 1_800_000_000.0
NUMBER = "+15551230101"


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db") as database:
        await want_callback(database)
        yield Inbox(database)


async def want_callback(database: Database) -> None:
    asked_at = datetime.fromtimestamp(NOW - 60, UTC)
    await Callbacks(database).add(
        Callback(call_id="c1", number=NUMBER, reason="a new contract", asked_at=asked_at)
    )


def notices(
    inbox: Inbox, *channels: Channel, attempts: int = 0, peers: Peers | None = None
) -> InboxNotices:
    settings = RetrySettings(initial_s=0.01, factor=1.0, attempts=attempts)
    return InboxNotices(
        inbox,
        channels,
        retries=Retries(settings=settings, emit=lambda _: None),
        quiet=lambda _: False,
        leads=lambda: True,
        turn=lambda: claimed(peers or NoPeers(), "notices"),
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


async def test_a_channel_that_limits_its_rate_rests_and_delays_no_other(inbox: Inbox) -> None:
    asked = list[str]()

    def channel(name: str, error: RemoteError | None = None) -> Channel:
        async def post(_post: ChannelPost, _text: AlertText) -> str:
            asked.append(name)
            if error:
                raise error
            return name

        return Channel(name=name, edits=False, place="", post=post)

    limited = channel("limited", RemoteError(Kind.RATE_LIMITED, "429", retry_after_s=600.0))
    async with asyncio.timeout(5.0):
        alone = notices(inbox, limited, attempts=3)
        await alone.send_waiting()
        await alone.send_waiting()
        assert asked == ["limited"]
        await notices(inbox, limited, channel("well"), attempts=3).send_waiting()

    assert asked == ["limited", "limited", "well"]


async def test_of_two_workers_only_one_sends_at_a_time(inbox: Inbox) -> None:
    assert await sent_by_two([inbox, inbox], peers=NoPeers()) == ["once"]


async def test_of_two_machines_with_one_database_only_one_sends_at_a_time(
    postgres_url: str,
) -> None:
    async with Database(postgres_url) as database, Database(postgres_url) as other:
        await want_callback(database)
        assert await sent_by_two([Inbox(database), Inbox(other)]) == ["once"]


async def sent_by_two(machines: Sequence[Inbox], peers: Peers | None = None) -> list[str]:
    """Send from two at once, with these `peers` or each with its own; return what."""
    asked, all_asked = list[str](), asyncio.Event()

    async def post(_post: ChannelPost, _text: AlertText) -> str:
        asked.append("once")
        await all_asked.wait()
        return "1"

    slow = Channel(name="slow", edits=False, place="", post=post)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(notices(machine, slow, peers=peers).run()) for machine in machines
        ]
        async with asyncio.timeout(10):
            while not asked:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        all_asked.set()
        for item in running:
            item.cancel()
    return asked
