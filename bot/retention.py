"""Forgets what callers said when its time has come: at the start, and once a day from then on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bot import clock
from bot.config.settings import Settings
from bot.keep_running import keep_running
from calls.entry import Tell
from calls.house_events import RecordsForgotten
from storage.message_file import finish_left
from telemetry.journal import forget_old

DAY_S: Final = 86_400.0
FOLDERS: Final = ("calls", "messages")


def forget(settings: Settings, *, utc_s: float) -> int:
    """Delete what callers said longer ago than `logs.keep_days`; return how many files; blocks."""
    logs = settings.logs
    return sum(
        forget_old(logs.dir / folder, keep_days=logs.keep_days, utc_s=utc_s) for folder in FOLDERS
    )


@asynccontextmanager
async def forget_daily(settings: Settings, *, tell: Tell) -> AsyncIterator[None]:
    """Forget once a day while the block runs; a process may run for longer than words are kept."""

    async def repeat() -> None:
        while True:
            utc_s = clock.utc_now().timestamp()
            await asyncio.to_thread(finish_left, settings.logs.dir / "messages", utc_s=utc_s)
            if files := await asyncio.to_thread(forget, settings, utc_s=utc_s):
                tell(RecordsForgotten(files=files, keep_days=settings.logs.keep_days))
            await asyncio.sleep(DAY_S)

    async with asyncio.TaskGroup() as tasks:
        repeating = tasks.create_task(keep_running("forgetting old calls", repeat))
        try:
            yield
        finally:
            repeating.cancel()
