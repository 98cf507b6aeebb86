"""Reports of the answerer's sound, with a scripted detector."""

from collections.abc import Sequence

import numpy as np
from pipecat.audio.vad.vad_analyzer import VADParams, VADState

from processors.answerer.watch import AnswererEar

RATE_HZ = 8000
PIECE_BYTES = 320
QUIET, STARTING = VADState.QUIET, VADState.STARTING
SPEAKING, STOPPING = VADState.SPEAKING, VADState.STOPPING


class ToldDetector:
    """Returns the given states one after another."""

    def __init__(self, states: Sequence[VADState]) -> None:
        self.params = VADParams(start_secs=0.2, stop_secs=0.5)
        self.rate_hz = 0
        self._states = list(states)

    def set_sample_rate(self, sample_rate: int) -> None:
        self.rate_hz = sample_rate

    async def analyze_audio(self, buffer: bytes) -> VADState:
        del buffer
        return self._states.pop(0)


async def test_each_speech_is_reported_once_at_its_start_and_once_at_its_end() -> None:
    states = (QUIET, STARTING, SPEAKING, SPEAKING, STOPPING, SPEAKING, STOPPING, QUIET, QUIET)
    ear = AnswererEar(ToldDetector(states))

    turned = [(await ear.hear(b""), ear.speaking, ear.late_s) for _ in states]

    began, ended = (True, True, 0.2), (True, False, 0.5)
    assert [(at, each) for at, each in enumerate(turned) if each[0]] == [(2, began), (7, ended)]


def test_a_beep_is_heard_once_the_rate_of_the_line_is_known() -> None:
    detector = ToldDetector(())
    ear = AnswererEar(detector)
    moments = np.arange(round(0.5 * RATE_HZ)) / RATE_HZ
    tone = (8000 * np.sin(2 * np.pi * 1000 * moments)).astype("<i2").tobytes()
    line = tone + bytes(RATE_HZ)
    pieces = [line[at : at + PIECE_BYTES] for at in range(0, len(line), PIECE_BYTES)]

    assert not any(ear.hear_beep(piece) for piece in pieces)
    ear.prepare(RATE_HZ)
    assert detector.rate_hz == RATE_HZ
    assert [ear.hear_beep(piece) for piece in pieces].count(True) == 1
