"""Starting, on a machine that is slow just then."""

import pytest

from bot.call.models import VoiceModels
from bot.call.warming import warm_up
from processors.turn_judges import PendingJudgement


async def test_a_look_that_is_not_ready_in_time_stops_no_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(self: PendingJudgement, within_s: float) -> None:
        del self, within_s

    monkeypatch.setattr(PendingJudgement, "wait", nothing)

    await warm_up(VoiceModels.load())
