"""A process killed during twenty calls, on a real SQLite and a real PostgreSQL."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest

from operations.database.database import Database
from operations.notify.alert_outbox import AlertOutbox
from operations.record.callbacks import Callbacks
from operations.record.reader import RecordReader
from operations.record.voicemails import Voicemails, list_voicemails
from operations.record.writer import CUT_S, RecordWriter
from runtime import clock
from tests.kit.databases import url
from tests.operations.database.kept_voicemails import kept_voicemails
from tests.operations.notify.test_alert_outbox import MAIL, decide
from tests.operations.record.telling_program import CALLS

__all__ = ["url"]
MOST = 100_000  # calls, alerts

pytestmark = pytest.mark.slow


async def killed(url: str, folder: Path) -> dict[str, set[str]]:
    """Kill the program in the middle; return what it reported as stored, by kind."""
    program = Path(__file__).with_name("telling_program.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, url, str(folder), stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    assert process.stdout
    accepted: defaultdict[str, set[str]] = defaultdict(set)
    reader = RecordReader(Database(url))
    async with asyncio.timeout(120):
        while len(accepted) < 4 or not await all_are_recorded(reader):
            for _ in range(50):
                what, which = (await process.stdout.readline()).decode().split()
                accepted[what].add(which)
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = await process.communicate()  # its output up to then
    for line in rest.decode().splitlines(keepends=True):
        what, _, which = line.partition(" ")
        if line.endswith("\n"):
            accepted[what].add(which.strip())
    await reader.database.close()
    return accepted


async def all_are_recorded(reader: RecordReader) -> bool:
    calls = await reader.calls(limit=MOST, live=True)
    return sum(call.id.startswith("c") for call in calls) == CALLS


class TestKilled:
    async def test_stored_items_are_present_and_the_cut_calls_are_marked(
        self, url: str, tmp_path: Path
    ) -> None:
        accepted = await killed(url, tmp_path)

        assert accepted["callback"] <= await callbacks(url)
        assert accepted["alert"] <= await alerts(url)
        assert accepted["voicemail"] <= await voicemails(url, tmp_path / "messages")
        reader, writer = RecordReader(Database(url)), RecordWriter(Database(url), holder="next")
        later = clock.utc_now() + timedelta(seconds=CUT_S + 1)
        assert len(await writer.interrupt_cut(later)) >= CALLS
        for number in range(CALLS):
            page = await reader.call(f"c{number}")
            assert page
            assert (page.call.state, page.call.verdict) == ("interrupted", "lost")
            told = [happening.number for happening in page.happenings]
            assert told == list(range(1, len(told) + 1))  # only the end is missing
            assert len(page.messages) >= page.turns[-1].turn - 1
        await writer.database.close()
        await reader.database.close()


async def callbacks(url: str) -> set[str]:
    database = Database(url)
    waiting = await Callbacks(database).waiting()
    await database.close()
    return {text.call_id for text in waiting}


async def alerts(url: str) -> set[str]:
    outbox = AlertOutbox(Database(url))
    while await outbox.run_round(decide, channels=[MAIL], now=1_800_000_000.0):
        pass
    known = await outbox.recent(MOST)
    await outbox.database.close()
    return {alert.rung for alert in known}


async def voicemails(url: str, folder: Path) -> set[str]:
    rows = Voicemails(Database(url))
    await list_voicemails(folder, rows)
    await rows.database.close()
    return {kept_voicemail.call_id for kept_voicemail in await kept_voicemails(url)}
