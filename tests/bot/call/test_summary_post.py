"""The owner gets a summary of each call; it is retried, and no call waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bot.call.summary_post import MAX_WAITING, SummaryPosts, open_summary_posts
from calls.events import Event
from fallbacks.events import AttemptFailed, RetryPlanned
from fallbacks.retrying import RetrySettings
from operations.retrying import Retries
from tests.kit.served import served

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("quiet_log")]

SUMMARY = {"call_id": "c1", "summary": "It is about an invoice."}


@asynccontextmanager
async def owner(*statuses: int) -> AsyncIterator[tuple[str, list[Any]]]:
    """Answer with these statuses, then with 200."""
    got: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=statuses[len(got) - 1] if len(got) <= len(statuses) else 200)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with served(app) as url:
        yield f"{url}/hook", got


def retries(told: list[Event]) -> Retries:
    return Retries(settings=RetrySettings(), emit=told.append)


@pytest.mark.parametrize(
    ("statuses", "asked"), [((), 1), ((503, 429), 3), ((404,), 1)], ids=["well", "busy", "wrong"]
)
async def test_a_summary_is_sent_until_it_is_accepted_or_refused_for_good(
    statuses: tuple[int, ...], asked: int
) -> None:
    told: list[Event] = []
    async with (
        owner(*statuses) as (url, got),
        open_summary_posts(SummaryPosts(url, retries(told))) as posts,
    ):
        posts.send(SUMMARY)
        await asyncio.sleep(60)

    assert got == [SUMMARY] * asked
    assert len([event for event in told if isinstance(event, RetryPlanned)]) == asked - 1
    assert len([event for event in told if isinstance(event, AttemptFailed)]) == len(statuses)


async def test_a_summary_that_cannot_be_sent_does_not_block_others() -> None:
    async with (
        owner(404) as (url, got),
        open_summary_posts(SummaryPosts(url, retries([]))) as posts,
    ):
        posts.send({"summary": "first"})
        posts.send({"summary": "second"})
        await asyncio.sleep(60)

    assert got == [{"summary": "first"}, {"summary": "second"}]


async def test_without_an_address_or_with_a_full_queue_nothing_is_kept() -> None:
    SummaryPosts(None).send(SUMMARY)
    crowded = SummaryPosts("http://127.0.0.1:9", retries([]))
    for _ in range(MAX_WAITING + 5):
        crowded.send(SUMMARY)
