"""The effects of a telephone line, a room or a bad recording on a caller's voice.

Each function takes and returns mono samples with full scale at -1 and 1. An effect does not change
the number of samples, so the times at which a caller speaks stay valid.
"""

from typing import Final

import numpy as np
from caller_voice import Samples

BAND_HZ: Final = (300.0, 3400.0)  # the telephone's voice band, ITU-T G.712
FIR_TAPS: Final = 255  # odd: a linear-phase filter with a whole number of samples of delay
MULAW_BIAS: Final = 132  # ITU-T G.711, in 16-bit units
MULAW_CLIP: Final = 32635
STREET_CORNER_HZ: Final = 500.0  # traffic has most of its power below this
KEYPAD_HZ: Final = {  # ITU-T Q.23: one low and one high tone for each key
    **{k: (697, h) for k, h in zip("123A", (1209, 1336, 1477, 1633), strict=True)},
    **{k: (770, h) for k, h in zip("456B", (1209, 1336, 1477, 1633), strict=True)},
    **{k: (852, h) for k, h in zip("789C", (1209, 1336, 1477, 1633), strict=True)},
    **{k: (941, h) for k, h in zip("*0#D", (1209, 1336, 1477, 1633), strict=True)},
}


def power(sound: Samples) -> float:
    """Return the mean square of `sound`."""
    return float(np.mean(np.square(sound)))


def scaled_to_level(sound: Samples, *, rms_db: float) -> Samples:
    """Return `sound` scaled to a root mean square of `rms_db`, relative to full scale."""
    return sound * (10 ** (rms_db / 20) / np.sqrt(power(sound)))


def telephone_band(sound: Samples, rate_hz: int) -> Samples:
    """Return `sound` limited to the telephone band, 300 to 3400 Hz."""
    n = np.arange(FIR_TAPS) - FIR_TAPS // 2
    low, high = (edge / rate_hz for edge in BAND_HZ)
    taps = 2 * high * np.sinc(2 * high * n) - 2 * low * np.sinc(2 * low * n)
    return np.convolve(sound, taps * np.hamming(FIR_TAPS), mode="same")


def through_mulaw(sound: Samples) -> Samples:
    """Return `sound` after a mu-law coder and decoder, as in 64 kbit/s telephony.

    Source: ITU-T G.711 (11/1988), table 2a: sign, three bits of segment, four of step.
    """
    linear = np.round(sound * 32768)
    biased = np.minimum(np.abs(linear), MULAW_CLIP).astype(np.int64) + MULAW_BIAS
    segment = np.floor(np.log2(biased)).astype(np.int64) - 7
    step = (biased >> (segment + 3)) & 0x0F
    decoded = (((step << 3) + MULAW_BIAS) << segment) - MULAW_BIAS
    return np.sign(linear) * decoded / 32768


def with_noise_floor(sound: Samples, *, rms_db: float) -> Samples:
    """Return `sound` with white noise of `rms_db` added throughout."""
    floor = np.random.default_rng(70).standard_normal(sound.size)
    return sound + floor * 10 ** (rms_db / 20)


def with_street_noise(
    sound: Samples, rate_hz: int, *, snr_db: float, speech_power: float
) -> Samples:
    """Return `sound` with traffic noise from the first sample to the last.

    Args:
        sound: The caller, with silence where nothing is said.
        rate_hz: Its sample rate.
        snr_db: The ratio of the speech to the noise, while the caller speaks.
        speech_power: Mean square of the speech alone.
    """
    white = np.random.default_rng(1300).standard_normal(sound.size)
    keep = np.exp(-2 * np.pi * STREET_CORNER_HZ / rate_hz)
    noise = np.empty_like(white)
    last = 0.0
    for i, value in enumerate(white):
        last = keep * last + (1 - keep) * value
        noise[i] = last
    return sound + noise * np.sqrt(speech_power / power(noise) / 10 ** (snr_db / 10))


def clipped(sound: Samples, *, gain_db: float) -> Samples:
    """Return `sound` amplified by `gain_db` and clipped at full scale, as by a microphone."""
    return np.clip(sound * 10 ** (gain_db / 20), -1.0, 32767 / 32768)


def keypad(keys: str, rate_hz: int, *, on_s: float = 0.12, off_s: float = 0.1) -> Samples:
    """Return the DTMF tones of `keys`, one after the other."""
    t = np.arange(round(on_s * rate_hz)) / rate_hz
    gap = np.zeros(round(off_s * rate_hz))
    tones: list[Samples] = []
    for key in keys:
        tones += [0.25 * sum(np.sin(2 * np.pi * hz * t) for hz in KEYPAD_HZ[key]), gap]
    return np.concatenate(tones[:-1])
