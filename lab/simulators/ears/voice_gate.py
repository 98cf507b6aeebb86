"""Distinguishes speech from silence and steady noise, 20 ms at a time.

A frame counts as voiced if WebRTC's detector says so and it is clearly louder than the quietest
moment of the last one and a half seconds: the detector alone mistakes white noise for speech.
"""

from collections import deque
from typing import Final

import numpy as np

from engines.sphinx import strict_voice_detector
from lab.simulators.ears.intake import MODEL_HZ
from lab.simulators.samples import Samples

FRAME_S: Final = 0.02
FRAME_SAMPLES: Final = int(MODEL_HZ * FRAME_S)
LOUD_RMS: Final = 15.0  # of 32768: about -67 dBFS; telephone silence is below
OVER_FLOOR: Final = 2.0  # most frames of speech at 10 dB over the noise are above: measured
FLOOR_FRAMES: Final = 75  # 1.5 s: speech always has a gap between two sounds within this time
SMOOTHING_FRAMES: Final = 3


class VoiceGate:
    """Decides frame by frame."""

    def __init__(self) -> None:
        self._vad = strict_voice_detector(rate_hz=MODEL_HZ, frame_s=FRAME_S)
        self._recent: deque[float] = deque(maxlen=SMOOTHING_FRAMES)
        self._levels: deque[float] = deque(maxlen=FLOOR_FRAMES)

    def voiced(self, frame: Samples) -> bool:
        """Return whether these 20 ms are speech."""
        rms = float(np.sqrt(np.mean(np.square(frame, dtype=np.float64))))
        self._recent.append(rms)
        self._levels.append(sum(self._recent) / len(self._recent))
        if rms < max(LOUD_RMS, OVER_FLOOR * min(self._levels)):
            return False
        return bool(self._vad.is_speech(frame.tobytes()))
