"""One pair of models shared by all calls."""

import math
import os
import threading
import time

import numpy as np
import pytest
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState

from bot.call.models import VoiceModels
from configuration.settings import TurnSettings
from lab.callers import RATE_HZ, caller_says, hiss
from processors.turn.detector import WIDTH, Judgement, TurnDetector, TurnJudges

NOISE = np.random.default_rng(1)


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    return VoiceModels.load()


def chunks(count: int) -> list[bytes]:
    loud = NOISE.normal(0.0, 6_000.0, (count, 256))
    return [item.astype(np.int16).tobytes() for item in loud]


def detector_of(models: VoiceModels, turn: TurnSettings) -> TurnDetector:
    return models.turn_detector(
        turn,
        models.vad(turn),
        judges=TurnJudges(clock=time.monotonic),
        clock=time.monotonic,
        emit=lambda _: None,
    )


def confidence(vad: VADAnalyzer, audio: bytes) -> float:
    return float(np.asarray(vad.voice_confidence(audio)).item())


def test_the_settings_reach_the_detectors(models: VoiceModels) -> None:
    settings = TurnSettings(vad_stop_s=0.3, vad_min_volume=0.1, smart_turn_stop_s=0.9)

    assert models.vad(settings).params.stop_secs == 0.3
    assert models.vad(settings).params.min_volume == 0.1
    assert detector_of(models, settings).params.stop_secs == 0.9


def test_a_shared_detector_agrees_with_pipecats_own(models: VoiceModels) -> None:
    own, shared = SileroVADAnalyzer(), models.vad(TurnSettings())
    heard = chunks(12)
    for item in (own, shared):
        item.set_sample_rate(8_000)

    theirs = [confidence(own, chunk) for chunk in heard]
    ours = [confidence(shared, chunk) for chunk in heard]

    assert ours == pytest.approx(theirs)
    assert len(set(theirs)) > 1


@pytest.mark.parametrize(
    "words", ["I would like an appointment on Thursday.", "What are your opening hours?"]
)
async def test_the_length_of_faint_sound_is_known_when_silence_is_certain(
    models: VoiceModels, words: str
) -> None:
    vad, window, lead = models.vad(TurnSettings()), 256, np.zeros(4096, np.int16)
    vad.set_sample_rate(RATE_HZ)
    said = caller_says(words)
    line = np.concatenate([lead, said, hiss(np.zeros(RATE_HZ, np.int16))])
    spoke = False
    for end in range(window, line.size, window):
        state = await vad.analyze_audio(line[end - window : end].tobytes())
        spoke = spoke or state is VADState.SPEAKING
        if spoke and state is VADState.QUIET:
            break
    silent_s = (end - lead.size - said.size) / RATE_HZ

    assert vad.faintness.lasts_s == pytest.approx(silent_s, abs=0.04)


@pytest.mark.parametrize(
    ("sure", "begun"),
    [
        ([0.9] * 5, True),
        ([0.9] * 4, False),
        ([0.9, 0.9, 0.42, 0.9, 0.9, 0.9], True),  # "What are", at some places of the windows
        ([0.9, 0.9, 0.2, 0.9, 0.9, 0.9], True),
        ([0.9, 0.9, 0.42, 0.9, 0.42, 0.9], False),
    ],
)
async def test_one_doubtful_window_does_not_restart_the_count_of_speech(
    models: VoiceModels, sure: list[float], *, begun: bool
) -> None:
    vad, scored = models.vad(TurnSettings(vad_min_volume=0.0)), iter(sure)
    vad.set_sample_rate(RATE_HZ)
    vad._model = lambda *_: np.array([[next(scored)]])  # type: ignore[assignment]  # scripted

    states = [await vad.analyze_audio(chunk) for chunk in chunks(len(sure))]

    assert (VADState.SPEAKING in states) is begun


def test_one_calls_audio_does_not_change_what_another_hears(models: VoiceModels) -> None:
    alone, first, second = (models.vad(TurnSettings()) for _ in range(3))
    for item in (alone, first, second):
        item.set_sample_rate(8_000)
    heard, other = chunks(10), chunks(10)

    undisturbed = [confidence(alone, item) for item in heard]
    disturbed = []
    for mine, theirs in zip(heard, other, strict=True):
        second.voice_confidence(theirs)
        disturbed.append(confidence(first, mine))

    assert disturbed == pytest.approx(undisturbed)


def test_a_shared_turn_analyzer_agrees_with_pipecats_own(models: VoiceModels) -> None:
    sound = NOISE.normal(0.0, 3_000.0, 8_000).astype(np.int16)
    own, shared = LocalSmartTurnAnalyzerV3(), detector_of(models, TurnSettings())
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


def test_a_pause_that_may_be_the_end_ends_the_turn_after_little_more_than_a_second() -> None:
    turn = TurnSettings()

    assert turn.vad_stop_s + turn.smart_turn_stop_s == pytest.approx(1.2)
