"""The floor and the turn's deadline, before a stage above learns that the caller stopped."""

import pytest
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import run_test

from calls.events import CallerStarted, CallerStopped, Event
from calls.line import CallerLine
from calls.timeline import Timeline
from calls.turn import Turn
from processors.call_observer import CallObserver
from processors.turn.detector import TurnJudges
from processors.turn.ending import PauseBegan, PauseEnded, PauseSoundsFinal, TurnOpener
from processors.turn.floor import (
    CallerResumed,
    Floor,
    FloorEvent,
    TurnBegan,
    TurnClosed,
    TurnEndPredicted,
    WordsCame,
)
from processors.turn.sound_path import Faintness
from runtime.clock import monotonic
from tests.processors.turn.decided_turns import Caller, Session, slowly

pytestmark = pytest.mark.virtual_time
BUDGET_S = 1.5


class StageAbove(FrameProcessor):
    """Reads the deadline when it gets the report of the stop."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.left_s: float | None = None
        self._turn = turn

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame | PauseSoundsFinal):
            self.left_s = self._turn.until(monotonic()).left_s(monotonic())
        await self.push_frame(frame, direction)


def opener_of(
    turn: Turn, faintness: Faintness | None = None, floor: Floor | None = None
) -> TurnOpener:
    return TurnOpener(
        floor or Floor(CallerLine()),
        turn=turn,
        faintness=faintness or Faintness(),
        clock=monotonic,
    )


@pytest.mark.parametrize(
    ("faint_s", "silent_s"), [(0.0, 0.2), (0.3, 0.3)], ids=["noise", "the VAD is late"]
)
async def test_a_stage_above_finds_the_budget_running_since_the_last_voiced_sample(
    faint_s: float, silent_s: float
) -> None:
    turn, faintness = Turn(budget_s=BUDGET_S), Faintness()
    faintness.lasts_s = faint_s
    stage = StageAbove(turn)

    await run_test(
        Pipeline([stage, opener_of(turn, faintness)]),
        frames_to_send=[VADUserStoppedSpeakingFrame(stop_secs=0.2)],
        frames_to_send_direction=FrameDirection.UPSTREAM,
        expected_up_frames=[VADUserStoppedSpeakingFrame],
    )

    assert stage.left_s == pytest.approx(BUDGET_S - silent_s, abs=0.01)


async def test_each_stop_is_reported_with_the_deadlines_moment() -> None:
    turn, faintness = Turn(budget_s=BUDGET_S), Faintness()
    faintness.lasts_s = 0.27
    told: list[Event] = []
    floor = Floor(CallerLine())
    observer = CallObserver(
        timeline=Timeline(budget_s=BUDGET_S),
        provider_of=str,
        floor=floor,
        turn=turn,
        emit=told.append,
        clock=monotonic,
    )

    await Caller(
        Session(0.1),
        TurnJudges(clock=monotonic, run=slowly(0.07)),
        above=[opener_of(turn, faintness, floor)],
        observers=[observer],
    ).speaks(1.0, 0.5, 1.0)

    stops = [event for event in told if isinstance(event, CallerStopped)]
    assert [stop.noticed_at_s - stop.at_s for stop in stops] == pytest.approx([0.27] * 2, abs=0.01)
    assert stops[-1].at_s == pytest.approx(floor.stopped_at, abs=0.01)


async def test_a_request_in_a_final_sounding_pause_has_the_whole_budget() -> None:
    turn = Turn(budget_s=BUDGET_S)
    turn.caller_stopped(monotonic() - 60.0)  # the turn before
    stage = StageAbove(turn)

    await run_test(
        Pipeline([stage, opener_of(turn)]),
        frames_to_send=[PauseSoundsFinal()],
        frames_to_send_direction=FrameDirection.UPSTREAM,
        expected_up_frames=[PauseSoundsFinal],
    )

    assert stage.left_s == pytest.approx(BUDGET_S, abs=0.01)


@pytest.mark.parametrize(
    ("frame", "events"),
    [
        (VADUserStartedSpeakingFrame(), [CallerStarted]),
        (VADUserStoppedSpeakingFrame(stop_secs=0.2), [CallerStopped]),
        (PauseBegan(), []),
        (PauseSoundsFinal(), [TurnEndPredicted]),
        (PauseEnded(), [CallerResumed]),
        (UserStartedSpeakingFrame(), [TurnBegan]),
        (UserStoppedSpeakingFrame(), [TurnClosed]),
        (InterimTranscriptionFrame("I would", "", ""), [WordsCame]),
        (TranscriptionFrame("I would like", "", ""), [WordsCame]),
        (TTSTextFrame("Hello", "word"), []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Frame) else None,
)
async def test_each_frame_updates_the_floor_once(frame: Frame, events: list[type]) -> None:
    floor, told = Floor(CallerLine()), list[FloorEvent]()
    floor.listeners.append(told.append)

    await run_test(
        opener_of(Turn(budget_s=BUDGET_S), floor=floor),
        frames_to_send=[frame],
        frames_to_send_direction=FrameDirection.UPSTREAM,
    )

    assert [type(event) for event in told] == events
