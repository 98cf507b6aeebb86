"""What the house does so that the garbage collector does not hold up a call."""

import asyncio
import gc
from pathlib import Path

from bot.call.models import VoiceModels
from bot.config.settings import Settings
from bot.http.application import Extras, application
from bot.process.interpreter import spare_the_loaded
from bot.process.opening import open_process
from tests.bot.record.test_record_keeper import STAGES
from tests.conftest import forget_servers


def test_what_is_loaded_when_the_house_opens_is_not_searched_for_garbage_again() -> None:
    kept = [[] for _ in range(1000)]
    try:
        spare_the_loaded()

        assert gc.get_freeze_count() > len(kept)
    finally:
        gc.unfreeze()


async def test_nothing_of_a_server_that_was_is_kept_for_the_next_test(tmp_path: Path) -> None:
    await run_server_once(tmp_path)

    forget_servers()
    gc.collect()

    assert [each for each in gc.get_objects() if isinstance(each, VoiceModels)] == []


async def run_server_once(folder: Path) -> None:
    settings = Settings.model_validate({"stages": STAGES, "logs": {"dir": folder}})
    async with open_process(settings, words=False) as process, asyncio.TaskGroup() as tasks:
        assert application(process, tasks, Extras()).routes
