"""Warm-up at the start, even on a slow machine."""

from threading import Barrier, BrokenBarrierError
from typing import Any, Final

import pytest

from bot.call.models import JUDGEMENTS_AT_ONCE, VoiceModels, warm_up
from processors.turn.detector import Judgement, PendingJudgement, TurnDetector

MEET_S: Final = 10.0  # for threads to get to work


async def test_a_warm_up_that_is_not_ready_in_time_does_not_stop_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(self: PendingJudgement, within_s: float) -> None:
        del self, within_s

    monkeypatch.setattr(PendingJudgement, "wait", nothing)

    await warm_up(VoiceModels.load())


async def test_turn_decisions_warm_up_in_parallel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together, met = Barrier(JUDGEMENTS_AT_ONCE), list[bool]()

    def look(self: TurnDetector, *sound: Any) -> Judgement:
        del self, sound
        try:
            together.wait(MEET_S)
        except BrokenBarrierError:
            met.append(False)
        else:
            met.append(True)
        return Judgement(probability=1.0, took_s=0.0)

    monkeypatch.setattr(TurnDetector, "_run_model", look)
    await warm_up(VoiceModels.load())

    assert met
    assert all(met)
