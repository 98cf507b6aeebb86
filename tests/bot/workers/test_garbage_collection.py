"""The server's measures against pauses by the garbage collector during a call."""

import asyncio
import gc
import weakref
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.server.application import Extras, application
from bot.workers import interpreter as freeing
from bot.workers.interpreter import freeze_loaded_objects
from bot.workers.process import Process, open_process
from configuration.settings import Settings
from tests.bot.call.test_switchboard import LINE, Talk
from tests.conftest import forget_servers
from tests.operations.record.test_record_listener import STAGES


def test_objects_loaded_at_the_start_are_frozen() -> None:
    kept = [[] for _ in range(1000)]
    try:
        freeze_loaded_objects()

        assert gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()


async def test_nothing_of_an_earlier_server_is_kept_for_the_next_test(tmp_path: Path) -> None:
    await run_server_once(tmp_path)

    forget_servers()
    gc.collect()

    assert [item for item in gc.get_objects() if isinstance(item, Process)] == []


async def test_a_calls_objects_are_freed_soon_after_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeing, "COLLECT_EVERY_S", 0.05)
    async with opened(tmp_path) as process:
        talk = Talk()
        vars(talk)["itself"] = talk  # as the parts of a call know each other
        talk.over.set()
        gc.disable()
        try:
            await process.switchboard.answer(LINE, talk)
            held = weakref.ref(talk)
            del talk
            async with asyncio.timeout(20):
                while held() is not None:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()


async def run_server_once(folder: Path) -> None:
    async with opened(folder) as process, asyncio.TaskGroup() as tasks:
        assert application(process, tasks, Extras()).routes


def opened(folder: Path) -> AbstractAsyncContextManager[Process]:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": folder}})
    return open_process(settings, words=False)
