"""A listener that blocks for ten seconds does not affect a call."""

import asyncio
from pathlib import Path

import pytest

from calls.entry import Entry
from calls.operations_events import ConfigurationLoaded
from tests.bot.call.replayed_call import replay_call

pytestmark = [pytest.mark.slow, pytest.mark.virtual_time]


class Blocked:
    """Takes ten seconds for each entry."""

    async def hear(self, entry: Entry) -> None:
        await asyncio.sleep(10.0)


async def test_a_listener_that_blocks_for_ten_seconds_does_not_change_answers(
    tmp_path: Path,
) -> None:
    alone, _ = await replay_call(tmp_path / "alone")

    beside, lost = await replay_call(tmp_path / "beside", Blocked())

    assert len(alone.v2v_s) >= 1
    assert beside.v2v_s == pytest.approx(alone.v2v_s, abs=0.001)
    assert beside.said == alone.said
    assert lost["Blocked"] > 0
    loaded = [entry for entry in alone.entries if isinstance(entry.event, ConfigurationLoaded)]
    assert [entry.call_id for entry in loaded] == [""]
