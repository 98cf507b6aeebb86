"""What the turn detector's model is given of a caller's sound: log-mel features, as Whisper's are.

The same figures as Pipecat's `compute_whisper_log_mel_features`, some frames at a time. Pipecat
makes all 800 at once: it takes and frees 6.7 MB with each look, and OpenBLAS shares one small
product among threads that mostly wait for each other (docs/decisions/0004).
"""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pipecat.audio.turn.smart_turn import _whisper_features as whisper

SAMPLES: Final = 8 * 16_000  # that the model hears: 8 s at 16 kHz
WINDOW: Final = 400  # samples; this and what follows: Whisper's feature extractor
HOP: Final = 160
FLOOR: Final = 1e-10  # of the power in a band
LEAST_VARIANCE: Final = 1e-7
DECADES: Final = 8.0  # below the loudest, all is equally quiet
HANN: Final = np.hanning(WINDOW + 1)[:-1]
BANDS: Final = whisper._MEL_FILTERS.T  # noqa: SLF001 - 80 of Slaney's; computed once, when it loads

FRAMES: Final = 50  # at a time; chosen: their windows and their spectra take 160 kB each


def log_mel(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of the last 8 s of a sound; what is missing is silence before it.

    Args:
        sound: Samples at 16 kHz, of -1 to 1.

    Returns:
        80 bands times 800 frames of 10 ms, about -1 to 1.
    """
    heard = np.zeros(SAMPLES, np.float32)
    kept = sound[-SAMPLES:]
    heard[SAMPLES - len(kept) :] = kept
    heard = (heard - heard.mean()) / np.sqrt(heard.var() + LEAST_VARIANCE)
    decades = np.log10(np.maximum(FLOOR, _band_power(heard)))[:, :-1]
    features = (np.maximum(decades, decades.max() - DECADES) + 4.0) / 4.0
    return features.astype(np.float32)


def _band_power(heard: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the power in each band of each frame, and of one frame more."""
    padded = np.pad(heard.astype(np.float64), WINDOW // 2, mode="reflect")
    windows = sliding_window_view(padded, WINDOW)[::HOP]
    power = np.empty((len(BANDS), len(windows)))
    for at in range(0, len(windows), FRAMES):
        spectra = np.fft.rfft(windows[at : at + FRAMES] * HANN, axis=-1)
        power[:, at : at + FRAMES] = BANDS @ (np.abs(spectra) ** 2).T
    return power
