"""Forgets what callers said when its time has come: at the start, and once a day from then on.

Files by their own age, in each process; rows by that of each kind, in one process for all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from loguru import logger

from bot import clock
from bot.config.settings import Settings
from calls.entry import Tell
from calls.house_events import RecordsForgotten
from operations.database.database import StorageError
from operations.keep_running import at_work, keep_running
from operations.record.erasing import Erasure
from operations.record.message_file import LEFT_S, finish_left
from operations.telemetry.journal import forget_old

DAY_S: Final = 86_400.0
AGAIN_S: Final = 600.0  # after a database that did not do it
LOOK_S: Final = 60.0  # whether we lead the house now
CALLS: Final = "calls"
MESSAGES: Final = "messages"
RECORDINGS: Final = "recordings"


def forget(settings: Settings, *, utc_s: float) -> int:
    """Delete what callers said longer ago than is kept; return how many files; blocks."""
    logs, rows = settings.logs, settings.storage.keep_days
    kept = {CALLS: logs.keep_days, MESSAGES: rows.voicemails, RECORDINGS: rows.recordings}
    return sum(
        forget_old(logs.dir / folder, keep_days=days, utc_s=utc_s) for folder, days in kept.items()
    )


@asynccontextmanager
async def forget_daily(settings: Settings, *, tell: Tell) -> AsyncIterator[None]:
    """Forget once a day while the block runs; a process may run for longer than words are kept.

    What a process has left unfinished that died is looked for more often: it is too young when the
    one starts that takes its place, and a caller waits for what comes of a message.
    """

    async def finish() -> None:
        utc_s = clock.utc_now().timestamp()
        for folder in (MESSAGES, RECORDINGS):
            await asyncio.to_thread(finish_left, settings.logs.dir / folder, utc_s=utc_s)

    async def look() -> None:
        while True:
            await asyncio.sleep(LEFT_S)
            await finish()

    async def repeat() -> None:
        while True:
            await finish()
            utc_s = clock.utc_now().timestamp()
            if files := await asyncio.to_thread(forget, settings, utc_s=utc_s):
                tell(RecordsForgotten(files=files, keep_days=settings.logs.keep_days))
            await asyncio.sleep(DAY_S)

    async with at_work(
        forgetting=keep_running("forgetting old calls", repeat),
        finishing=keep_running("keeping what was left", look),
    ):
        yield


@asynccontextmanager
async def forget_rows_daily(settings: Settings, *, mine: Callable[[], bool]) -> AsyncIterator[None]:
    """Erase old rows once a day while the block runs, where `mine` says so."""
    erasure = Erasure(settings.storage.url)
    keep_days = settings.storage.keep_days.model_dump()

    async def repeat() -> None:
        while True:
            while not mine():  # noqa: ASYNC110 - the leader of the house may change at any time
                await asyncio.sleep(LOOK_S)
            try:
                erased = await erasure.erase_old(keep_days, now=clock.utc_now())
            except StorageError as error:
                logger.error("old rows are not erased yet: {}", error)
                await asyncio.sleep(AGAIN_S)
                continue
            if erased:
                logger.info("old rows are erased: {}", dict(erased))
            await asyncio.sleep(DAY_S)

    try:
        async with at_work(erasing=keep_running("erasing old rows", repeat)):
            yield
    finally:
        await erasure.close()
