"""The turn's deadline stands before a stage above hears that the caller stopped."""

import pytest
from pipecat.frames.frames import Frame, VADUserStoppedSpeakingFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import run_test

from bot.clock import monotonic
from calls.turn import Turn
from processors.turn_opener import TurnOpener

pytestmark = pytest.mark.virtual_time
BUDGET_S = 1.5


class StageAbove(FrameProcessor):
    """Asks for the deadline when it hears of the stop."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.left_s: float | None = None
        self._turn = turn

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            self.left_s = self._turn.until(monotonic()).left_s(monotonic())
        await self.push_frame(frame, direction)


async def test_a_stage_above_finds_the_budget_running_since_the_last_voiced_sample() -> None:
    turn = Turn(budget_s=BUDGET_S)
    stage = StageAbove(turn)

    await run_test(
        Pipeline([stage, TurnOpener(turn, clock=monotonic)]),
        frames_to_send=[VADUserStoppedSpeakingFrame(stop_secs=0.2)],
        frames_to_send_direction=FrameDirection.UPSTREAM,
        expected_up_frames=[VADUserStoppedSpeakingFrame],
    )

    assert stage.left_s == pytest.approx(BUDGET_S - 0.2, abs=0.01)
