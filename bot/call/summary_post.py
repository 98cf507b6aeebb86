"""Posts summaries of transferred calls to the owner's webhook, in the background, with retries."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from loguru import logger

from fallbacks.failure import Failure, Kind, ServiceError, failed
from operations.keep_running import keep_running
from operations.retrying import Retries, run_with_retries
from runtime.http import request

MAX_WAITING: Final = 100  # summaries in the queue; any more are dropped
POST_S: Final = 10.0
STAGE: Final = "webhook"  # these two name the owner's webhook in failures and events
PROVIDER: Final = "transfer"


class SummaryPosts:
    """Posts summaries in the background, or drops them if there is no URL."""

    def __init__(self, url: str | None, retries: Retries | None = None) -> None:
        self._url = url
        self._retries = retries
        self._waiting: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(MAX_WAITING)

    def send(self, summary: Mapping[str, Any]) -> None:
        """Queue a summary, without waiting.

        Without a URL, nothing is sent. If the queue is full, the summary is dropped and logged.
        """
        if self._url is None:
            return
        try:
            self._waiting.put_nowait(summary)
        except asyncio.QueueFull:
            logger.error("a summary was not sent: {} are waiting", MAX_WAITING)

    async def run(self) -> None:
        """Post the queued summaries one after the other, until cancelled."""
        while True:
            summary = await self._waiting.get()
            try:
                await self._post_summary(summary)
            except ServiceError as error:
                logger.error("a summary was not sent: {}", error)

    async def _post_summary(self, summary: Mapping[str, Any]) -> None:
        """Post a summary to the webhook, with retries; any answer but a success is a failure."""
        url, retries = self._url, self._retries
        if url is None or retries is None:  # cannot happen: nothing is queued then
            return

        async def post() -> None:
            async with (
                asyncio.timeout(POST_S),
                request("POST", url, json=dict(summary), allow_redirects=False) as answer,
            ):
                if not answer.ok:
                    raise _Refused(answer.status)

        await run_with_retries(
            post, asked=(STAGE, PROVIDER), classify=_failure_from_error, retries=retries
        )


class _Refused(Exception):  # noqa: N818 - becomes a `Failure`
    def __init__(self, status: int) -> None:
        super().__init__(f"answered {status}")
        self.status = status


def _failure_from_error(error: Exception) -> Failure | None:
    """Return an error as a failure of the webhook; `None` for our own error, which is raised."""
    match error:
        case _Refused(status=status):
            is_temporary = status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS
            kind = Kind.OVERLOADED if is_temporary else Kind.BAD_REQUEST
            return failed(kind, STAGE, provider=PROVIDER, reason=f"answered {status}")
        case TimeoutError():
            return failed(Kind.TIMEOUT, STAGE, provider=PROVIDER, reason="no answer in time")
        case aiohttp.ClientError():
            return failed(Kind.NETWORK, STAGE, provider=PROVIDER, reason=type(error).__name__)
        case _:
            return None


@asynccontextmanager
async def open_summary_posts(posts: SummaryPosts) -> AsyncIterator[SummaryPosts]:
    """Post summaries while the block runs; those still queued at its end are lost."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(keep_running("sending summaries", posts.run))
        try:
            yield posts
        finally:
            running.cancel()
