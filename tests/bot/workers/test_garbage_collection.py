"""The server's measures against pauses by the garbage collector during a call."""

import asyncio
import ctypes
import gc
import weakref
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.workers import interpreter as freeing
from bot.workers.interpreter import freeze_loaded_objects
from bot.workers.process import Process, open_process
from configuration.settings import Settings
from tests.bot.call.test_switchboard import LINE, Talk
from tests.operations.record.test_record_listener import STAGES

BLOCK_BYTES = 4_000  # small enough for glibc's heap
MEMORY_BYTES = 40_000_000


def test_objects_loaded_at_the_start_are_frozen() -> None:
    kept = [[] for _ in range(1000)]
    try:
        freeze_loaded_objects()

        assert gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()


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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
@pytest.mark.virtual_time
async def test_memory_between_objects_that_stay_is_returned_after_a_call() -> None:
    blocks = [bytearray(BLOCK_BYTES) for _ in range(MEMORY_BYTES // BLOCK_BYTES)]
    ended = 0
    async with freeing.free_ended_calls(lambda: ended):
        last = blocks.pop()  # so that the end of the heap is in use
        del blocks
        before = memory_bytes()
        ended += 1
        await asyncio.sleep(3 * freeing.COLLECT_EVERY_S)

        assert before - memory_bytes() > MEMORY_BYTES / 2
    assert len(last) == BLOCK_BYTES


def memory_bytes() -> int:
    """Return how much memory of its own this process has, without pages of files."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


def opened(folder: Path) -> AbstractAsyncContextManager[Process]:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": folder}})
    return open_process(settings, words=False)
