"""The beep of a mailbox, distinguished from other sounds on a line."""

import numpy as np
import pytest

from engines.espeak import Espeak
from processors.answerer.watch import BeepDetector

RATE_HZ = 8000


def tone(hz: float, length_s: float, *, level: float = 8000.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(round(length_s * RATE_HZ)) / RATE_HZ)


def quiet(length_s: float, *, level: float = 30.0) -> np.ndarray:
    return np.random.default_rng(1).normal(0.0, level, round(length_s * RATE_HZ))


def beeps(*parts: np.ndarray) -> int:
    detector, sound = BeepDetector(RATE_HZ), np.concatenate([*parts, quiet(0.1)])
    pcm = sound.clip(-32768, 32767).astype("<i2").tobytes()
    return sum(detector.hear(pcm[at : at + 320]) for at in range(0, len(pcm), 320))


@pytest.mark.parametrize("hz", [440, 620, 850, 1000, 1400, 1900])
@pytest.mark.parametrize("length_s", [0.25, 0.5, 0.95])
def test_a_single_tone_is_a_beep_once_it_has_ended(hz: float, length_s: float) -> None:
    assert beeps(quiet(0.5), tone(hz, length_s), quiet(0.2, level=80.0)) == 1


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([quiet(2.0, level=2000.0)], id="noise"),
        pytest.param([tone(1000, 0.1)], id="too short"),
        pytest.param([tone(1100, 3.0)], id="a fax"),
        pytest.param([tone(200, 0.5)], id="too low"),
        pytest.param([tone(2600, 0.5)], id="too high"),
        pytest.param([tone(440, 0.5) + tone(480, 0.5)], id="a line that rings"),
        pytest.param([tone(697, 0.3) + tone(1209, 0.3)], id="a key"),
        pytest.param([tone(1000, 0.5, level=100.0)], id="too soft"),
        pytest.param([tone(1400, 0.2)], id="a recorder's warning"),
    ],
)
def test_other_sounds_on_a_line_are_no_beep(parts: list[np.ndarray]) -> None:
    assert beeps(*parts) == 0


@pytest.mark.parametrize("voice", ["en-us", "en-us+f2", "en-us+m3", "es", "ru"])
def test_speech_is_no_beep(voice: str) -> None:
    engine = Espeak(private=True, seed=1)
    said = "Hello, oooh you have reached eee, no no no, mmm, ah."
    samples, _ = engine.speak(said, [voice], words_per_minute=140, pitch=60)
    engine.unload()
    step = engine.rate_hz / RATE_HZ
    at = (np.arange(int(len(samples) / step)) * step).astype(int)

    assert beeps(samples[at].astype(np.float64)) == 0
