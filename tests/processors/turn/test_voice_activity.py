"""The detector of each call on the shared model of voice activity."""

import numpy as np
import pytest
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState

from bot.call.models import VoiceModels
from configuration.settings import TurnSettings
from lab.callers import RATE_HZ, caller_says, hiss
from processors.turn.voice_activity import SharedSilero

NOISE = np.random.default_rng(1)


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    return VoiceModels.load()


def chunks(count: int) -> list[bytes]:
    loud = NOISE.normal(0.0, 6_000.0, (count, 256))
    return [item.astype(np.int16).tobytes() for item in loud]


def confidence(vad: VADAnalyzer, audio: bytes) -> float:
    return float(np.asarray(vad.voice_confidence(audio)).item())


def test_a_shared_detector_agrees_with_pipecats_own(models: VoiceModels) -> None:
    own, shared = SileroVADAnalyzer(), models.vad(TurnSettings())
    assert isinstance(shared, SharedSilero)
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
    spoke, end = False, 0
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
        ([0.9, 0.9, 0.42, 0.9, 0.9, 0.9], True),  # "What are", at some places of the windows
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
