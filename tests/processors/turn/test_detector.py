"""When a turn is decided with a detector that may be slow, for one caller and for eight at once."""

import asyncio
import inspect
import time
from collections import deque

import numpy as np
import pytest
from loguru import logger
from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy

from processors.turn.detector import (
    DetectorSettings,
    Examine,
    Judgement,
    RunBeside,
    TurnDetector,
    TurnJudges,
    silence_of,
)
from processors.turn.sound_path import Faintness
from tests.processors.turn.decided_turns import (
    PIECE_S,
    RATE_HZ,
    SPEECH,
    Caller,
    LoudnessVad,
    Session,
    slowly,
)

pytestmark = pytest.mark.virtual_time

WITHIN_S = 0.25
SURE, UNSURE = 0.9, 0.1


def judges_of(takes_s: float, *, width: int = 2) -> TurnJudges:
    return TurnJudges(clock=time.monotonic, width=width, run=slowly(takes_s))


def caller(*says: float, takes_s: float = 0.07, early: bool = True) -> Caller:
    return Caller(Session(*says), judges_of(takes_s), early=early)


@pytest.mark.parametrize(("takes_s", "early"), [(0.07, True), (6.0, False)])
async def test_with_eight_simultaneous_stops_each_turn_is_decided_in_time(
    takes_s: float,
    early: bool,  # noqa: FBT001 - a table
) -> None:
    judges = judges_of(takes_s)
    callers = [Caller(Session(SURE), judges, early=early) for _ in range(8)]

    async with asyncio.TaskGroup() as calls:
        for item in callers:
            calls.create_task(item.speaks(1.0))

    for item in callers:
        assert len(item.stops) == len(item.decided) == 1
        assert item.decided[0] - item.stops[0] <= WITHIN_S + 0.001
        assert item.turns == ["words 1"]


async def test_the_early_analysis_is_ready_when_the_vad_reports_the_stop() -> None:
    one = await caller(SURE).speaks(1.0)

    (judged,) = one.judged
    assert one.decided[0] - one.stops[0] < 0.001
    assert (judged.by, judged.early, judged.finished) == ("detector", True, True)
    assert (judged.waited_s, judged.dropped) == (0.0, 0)
    (began, began_at), (final, final_at) = one.pauses  # what stages above learn, before the stop
    assert (began, final) == ("PauseBegan", "PauseSoundsFinal")
    assert one.stops[0] - began_at == pytest.approx(0.12, abs=0.03)
    assert final_at - began_at == pytest.approx(0.07, abs=0.001)


async def test_silence_decides_if_the_detector_gives_no_answer() -> None:
    one = await caller(UNSURE, takes_s=6.0).speaks(1.0)

    (judged,) = one.judged
    assert one.decided[0] - one.stops[0] == pytest.approx(WITHIN_S, abs=0.001)
    assert (judged.by, judged.finished, judged.early) == ("silence", True, False)


async def test_silence_decides_nothing_after_new_speech() -> None:
    one = await caller(SURE, takes_s=6.0).speaks(1.0, 0.4, 1.0)

    assert (len(one.starts), len(one.stops)) == (2, 2)
    assert len(one.decided) == 1
    assert one.decided[0] - one.stops[1] == pytest.approx(WITHIN_S, abs=0.001)


async def test_a_failing_detector_causes_no_wait() -> None:
    class Broken(Session):
        def run(self, _names: None, _feeds: object) -> list[object]:
            raise RuntimeError("no memory")

    one = Caller(Broken(SURE), TurnJudges(clock=time.monotonic))
    await one.speaks(1.0)

    assert [pause_judged.by for pause_judged in one.judged] == ["silence"]
    assert one.decided[0] - one.stops[0] == pytest.approx(WITHIN_S, abs=0.001)


def failing(*errors: Exception | None) -> RunBeside:
    """Return an executor whose analyses fail in this order; `None` for one that is cancelled."""
    left = deque(errors)

    def run(_: Examine) -> "asyncio.Future[Judgement]":
        found: asyncio.Future[Judgement] = asyncio.get_running_loop().create_future()
        error = left.popleft()
        found.cancel() if error is None else found.set_exception(error)
        return found

    return run


@pytest.mark.parametrize(
    ("errors", "logged"),
    [
        ([RuntimeError("no memory")] * 3, 1),
        ([RuntimeError("no memory"), ValueError("no sound"), RuntimeError("no file")], 2),
        ([None, None, RuntimeError("no memory")], 1),
        ([None], 0),
    ],
    ids=["one kind", "two kinds", "cancelled, then failed", "cancelled"],
)
async def test_each_kind_of_failure_of_the_detector_is_logged_once(
    errors: list[Exception | None], logged: int
) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="ERROR", format="{message}")
    judges = TurnJudges(clock=time.monotonic, run=failing(*errors))
    for number in range(len(errors)):
        pending = judges.ask(number, lambda: Judgement(probability=1.0, took_s=0.0), due_at=1e9)
        assert await pending.wait(1.0) is None
    logger.remove(sink)
    judges.close()

    assert len(lines) == logged


async def test_silence_has_its_full_time_if_no_analysis_will_follow() -> None:
    judges = judges_of(0.2, width=1)  # the second of them would be too late, and is not started
    callers = [Caller(Session(SURE), judges) for _ in range(2)]

    async with asyncio.TaskGroup() as calls:
        for item in callers:
            calls.create_task(item.speaks(1.0))

    waited = {item.judged[0].by: item.judged[0].waited_s for item in callers}
    assert waited == {"detector": pytest.approx(0.08, abs=0.02), "silence": pytest.approx(WITHIN_S)}


async def test_speech_without_a_gap_of_a_tenth_of_a_second_causes_no_analysis() -> None:
    one = await caller(SURE).speaks(1.0, 0.06, 1.0)

    assert one.session.asked == 1
    assert one.judged[0].dropped == 0


async def test_an_early_analysis_is_dropped_when_the_caller_continues() -> None:
    one = await caller(SURE).speaks(1.0, 0.14, 1.0)

    (judged,) = one.judged
    assert one.session.asked == 2
    assert (judged.dropped, len(one.stops), len(one.decided)) == (1, 1, 1)
    told = [report for report, _ in one.pauses]
    assert told == ["PauseBegan", "PauseEnded", "PauseBegan", "PauseSoundsFinal"]


async def test_a_dropped_analysis_does_not_affect_the_next_pause() -> None:
    one = await caller(SURE, UNSURE, takes_s=0.27).speaks(1.0, 0.14, 0.1, 0.14, 1.0)

    assert "PauseSoundsFinal" not in [report for report, _ in one.pauses]
    assert [report for report, _ in one.pauses].count("PauseBegan") == 3


async def test_without_the_early_analysis_no_pause_is_reported_and_the_detector_waited_for() -> (
    None
):
    one = await caller(SURE, early=False).speaks(1.0, 0.14, 1.0)

    (judged,) = one.judged
    assert (one.pauses, one.session.asked) == ([], 1)
    assert one.decided[0] - one.stops[0] == pytest.approx(0.07, abs=0.001)
    assert (judged.by, judged.early) == ("detector", False)


@pytest.mark.parametrize("early", [True, False], ids=["early", "at the stop"])
async def test_the_verdict_on_a_pause_does_not_end_the_next_turn(
    early: bool,  # noqa: FBT001 - a table
) -> None:
    one = await caller(SURE, takes_s=0.34, early=early).speaks(1.0, 0.24, 1.0)

    assert len(one.stops) == 2
    assert len(one.starts) == 2
    assert len(one.decided) == 1  # the first pause's answer came when the caller spoke again
    assert one.decided[0] > one.stops[1]


async def test_a_pause_that_is_no_end_is_analysed_twice_and_ends_with_silence() -> None:
    one = await caller(UNSURE).speaks(1.0)

    (judged,) = one.judged
    assert one.session.asked == 2  # early, and with all of the silence
    assert (judged.finished, judged.by) == (False, "detector")
    assert one.decided[0] - one.stops[0] == pytest.approx(1.2, abs=0.05)
    assert [report for report, _ in one.pauses] == ["PauseBegan"]


async def test_the_second_analysis_may_find_the_end() -> None:
    one = await caller(UNSURE, SURE).speaks(1.0)

    assert one.decided[0] - one.stops[0] == pytest.approx(0.07, abs=0.02)
    assert [(judged.finished, judged.early) for judged in one.judged] == [(True, False)]


async def test_an_early_unfinished_verdict_stands_without_time_for_a_second_analysis() -> None:
    one = await caller(UNSURE, takes_s=0.2).speaks(1.0)

    assert [(judged.finished, judged.by) for judged in one.judged] == [(False, "detector")]
    assert one.decided[0] - one.stops[0] == pytest.approx(1.2, abs=0.05)


async def test_only_the_last_seconds_of_a_long_speech_are_kept() -> None:
    detector = TurnDetector(
        Session(SURE),
        vad=LoudnessVad(),
        faintness=Faintness(),
        settings=DetectorSettings(),
        judges=judges_of(0.07),
        clock=time.monotonic,
        emit=lambda _: None,
    )
    detector.set_sample_rate(RATE_HZ)
    kept: list[int] = []
    for _ in range(3000):
        detector.append_audio(SPEECH, is_speech=True)
        kept.append(len(detector._audio_buffer))
        await asyncio.sleep(PIECE_S)

    assert max(kept) <= 16.0 / PIECE_S + 2
    assert kept[-1] >= 8.0 / PIECE_S


@pytest.mark.parametrize(
    ("pieces", "silence_s"),
    [("", None), ("ssssssss", 0.0), ("ssssssss..", 0.064), ("ssssssss......", None), (".", None)],
    ids=["nothing yet", "speech", "a short silence", "the VAD is sure", "silence"],
)
def test_the_vad_reports_how_long_the_caller_has_been_silent(
    pieces: str, silence_s: float | None
) -> None:
    vad = LoudnessVad(
        params=VADParams(start_secs=0.1, stop_secs=0.2, confidence=0.5, min_volume=0.0)
    )
    vad.set_sample_rate(RATE_HZ)
    for piece in pieces:
        level = 3000 if piece == "s" else 0
        vad._run_analyzer(np.full(256, level, dtype="<i2").tobytes())

    assert silence_of(vad) == silence_s


def test_pipecat_still_has_the_members_that_we_override_and_read() -> None:
    rule, detector = TurnAnalyzerUserTurnStopStrategy, LocalSmartTurnAnalyzerV3
    stopped = inspect.signature(rule._handle_vad_user_stopped_speaking)

    assert list(stopped.parameters) == ["self", "frame"]
    assert list(inspect.signature(rule._discard_pending_end_of_turn).parameters) == ["self"]
    assert list(inspect.signature(rule._handle_input_audio).parameters) == ["self", "frame"]
    resample = inspect.signature(detector._resample_to_model_rate)
    assert list(resample.parameters)[1:] == ["audio_array"]
    for name in ("_audio_buffer", "_speech_start_time", "_vad_start_secs"):
        assert name in inspect.getsource(BaseSmartTurn)
    for name in ("_vad_stopping_count", "_vad_frames", "_vad_state"):
        assert name in inspect.getsource(VADAnalyzer)
