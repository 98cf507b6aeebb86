"""One pair of models shared by all calls."""

import math
import os
import threading
import time

import numpy as np
import onnxruntime
import pytest
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

from bot.call.models import SMART_TURN, VoiceModels
from configuration.settings import TurnSettings
from processors.turn.detector import WIDTH, Judgement, TurnDetector, TurnJudges
from tests.lab.simulators import synthetic_caller as caller

NOISE = np.random.default_rng(1)


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    return VoiceModels.load()


def detector_of(models: VoiceModels, turn: TurnSettings) -> TurnDetector:
    return models.turn_detector(
        turn,
        models.vad(turn),
        judges=TurnJudges(clock=time.monotonic),
        clock=time.monotonic,
        emit=lambda _: None,
    )


def test_the_settings_reach_the_detectors(models: VoiceModels) -> None:
    settings = TurnSettings(vad_stop_s=0.3, vad_min_volume=0.1, smart_turn_stop_s=0.9)

    assert models.vad(settings).params.stop_secs == 0.3
    assert models.vad(settings).params.min_volume == 0.1
    assert detector_of(models, settings).params.stop_secs == 0.9


def test_a_turn_is_judged_as_by_exact_arithmetic(models: VoiceModels) -> None:
    """On an x86 processor without VNNI, 8-bit products overflow unless the runtime is told."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    exact = onnxruntime.InferenceSession(str(SMART_TURN), options)  # in floating point
    both = [
        detector_of(VoiceModels(None, session), TurnSettings())
        for session in (exact, models._smart_turn)
    ]
    for text in ("My number is", "I would like to book an appointment."):
        pcm = np.frombuffer(caller.say(text), np.int16)
        exactly, found = (item._run_model([pcm], 3_200).probability for item in both)

        assert found == pytest.approx(exactly, abs=0.25)


def test_a_shared_turn_analyzer_agrees_with_pipecats_own(models: VoiceModels) -> None:
    sound = NOISE.normal(0.0, 3_000.0, 8_000).astype(np.int16)
    own, shared = LocalSmartTurnAnalyzerV3(), detector_of(models, TurnSettings())
    own._session = shared._session  # which is loaded with another option
    for item in (own, shared):
        item.set_sample_rate(8_000)  # a telephone's, and not the model's

    judged = own._predict_endpoint(sound.astype(np.float32) / 32768.0)

    assert shared._run_model([sound], 0).probability == pytest.approx(judged["probability"])


async def test_turn_decisions_of_many_calls_share_one_thread_a_core() -> None:
    threads: set[int] = set()
    judges = TurnJudges(clock=time.monotonic)

    def note() -> Judgement:
        threads.add(threading.get_ident())
        time.sleep(0.01)
        return Judgement(probability=1.0, took_s=0.01)

    asked = [judges.ask(number, note, due_at=math.inf) for number in range(WIDTH + 4)]
    found = [await item.wait(10.0) for item in asked]
    judges.close()

    assert all(item is not None and item.finished for item in found)
    assert 1 <= len(threads) <= WIDTH == (os.cpu_count() or 1)
