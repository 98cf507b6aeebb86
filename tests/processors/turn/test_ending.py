"""When the caller's turn ends, on a slow machine."""

import inspect
import time
from typing import Any

import pytest
from pipecat.audio.vad.vad_analyzer import VADAnalyzer
from pipecat.frames.frames import (
    InputAudioRawFrame,
    LLMContextFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.turns.user_start import TranscriptionUserTurnStartStrategy, VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from processors.turn.ending import TurnStop
from tests.processors.answering.early_bench import Detector

pytestmark = pytest.mark.virtual_time

STOP_S = 0.05
EXPECTED_S = 0.1  # from the recogniser, after the caller's last sample


class Quiet(VADAnalyzer):
    """Hears nothing, in a thread as every VAD does."""

    def num_frames_required(self) -> int:
        return 160

    def voice_confidence(self, buffer: bytes) -> float:
        return 0.0


def said(text: str, *, finalized: bool) -> TranscriptionFrame:
    return TranscriptionFrame(text=text, user_id="", timestamp="", finalized=finalized)


async def turns(
    stop: TurnAnalyzerUserTurnStopStrategy,
    *,
    set_back_s: float = 0.0,
    finalized: bool = True,
    expected_s: float = EXPECTED_S,
) -> list[str]:
    """Return the caller's turns, as the context has them.

    Args:
        stop: Decides their end.
        set_back_s: Seconds by which the time of day is set back after the caller's stop.
        finalized: Whether the recogniser marks the last words as such.
        expected_s: When the recogniser's last words are usually there, after the caller's stop.
    """
    context = LLMContext(messages=[])
    start = [VADUserTurnStartStrategy(), TranscriptionUserTurnStartStrategy()]
    params = LLMUserAggregatorParams(
        vad_analyzer=Quiet(),
        user_turn_strategies=UserTurnStrategies(start=start, stop=[stop]),
        user_turn_stop_timeout=1.0,
    )
    stopped_at = time.time() + set_back_s + 0.04  # its default is bound to the real clock
    down, _ = await run_test(
        LLMContextAggregatorPair(context, user_params=params).user(),
        frames_to_send=[
            STTMetadataFrame(service_name="stt", ttfs_p99_latency=expected_s),
            VADUserStartedSpeakingFrame(),
            SleepFrame(sleep=0.02),
            said("Hello", finalized=False),
            SleepFrame(sleep=0.02),
            VADUserStoppedSpeakingFrame(stop_secs=STOP_S, timestamp=stopped_at),
            SleepFrame(sleep=0.02),
            *(InputAudioRawFrame(bytes(640), 16_000, 1) for _ in range(10)),
            said("my name is Maria.", finalized=finalized),
            SleepFrame(sleep=0.2),
            SleepFrame(sleep=0.2),
        ],
    )
    messages: list[Any] = list(context.messages)
    assert any(isinstance(frame, LLMContextFrame) for frame in down)
    return [str(message["content"]) for message in messages]


async def test_a_slow_turn_detector_does_not_cut_off_the_last_words() -> None:
    assert await turns(TurnStop(turn_analyzer=Detector(takes_s=0.15))) == [
        "Hello my name is Maria."
    ]


async def test_pipecat_alone_still_cuts_off_the_last_words() -> None:
    stock = await turns(TurnAnalyzerUserTurnStopStrategy(turn_analyzer=Detector(takes_s=0.15)))

    assert stock != ["Hello my name is Maria."]  # when this fails, our own rule may go


async def test_a_clock_that_is_set_back_does_not_delay_a_turn() -> None:
    ended: list[bool] = []

    class NotingStop(TurnStop):
        async def trigger_user_turn_stopped(
            self, *, enable_user_speaking_frames: bool | None = None
        ) -> None:
            ended.append(True)
            await super().trigger_user_turn_stopped(
                enable_user_speaking_frames=enable_user_speaking_frames
            )

    stop = NotingStop(turn_analyzer=Detector(takes_s=0.15))

    assert await turns(stop, set_back_s=3600, finalized=False) == ["Hello my name is Maria."]
    assert ended  # by the rule, not by the time-out after it


async def test_a_turn_does_not_end_while_words_are_pending() -> None:
    looks = iter([True, True, False])
    stop = TurnStop(turn_analyzer=Detector(takes_s=0.15), words_pending=lambda: next(looks, False))

    assert await turns(stop) == ["Hello my name is Maria."]
    assert next(looks, None) is None  # it checked until they arrived


async def test_a_turn_ends_with_its_words_although_no_result_is_marked_as_the_last() -> None:
    """A recogniser's own endpointing was sooner than our request for the last words."""
    known = iter([False, False, True])  # the stage learns of the stop a little later
    stop = TurnStop(turn_analyzer=Detector(takes_s=0.15), has_all_words=lambda: next(known, True))

    words = await turns(stop, finalized=False, expected_s=9.0)

    assert words == ["Hello my name is Maria."]
    assert next(known, None) is None


def test_pipecat_still_has_the_methods_that_we_override() -> None:
    rule = TurnAnalyzerUserTurnStopStrategy

    assert list(inspect.signature(rule._timeout_handler).parameters) == ["self", "timeout"]
    triggered = inspect.signature(rule.trigger_user_turn_stopped)
    assert list(triggered.parameters) == ["self", "enable_user_speaking_frames"]
