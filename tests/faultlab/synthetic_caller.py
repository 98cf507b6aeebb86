"""Callers made with espeak-ng, straight from its library: no voice of the lab's is used."""

import ctypes
import functools

import espeakng_loader
import numpy as np
import soxr

AUDIO_OUTPUT_SYNCHRONOUS = 2  # espeak-ng/src/include/espeak-ng/speak_lib.h
CHARS_UTF8 = 1
RATE = 1  # espeakRATE, words a minute
PITCH = 3  # espeakPITCH, 0..100

VOICES = ("en-us", "en", "en-us+f3", "en-us+m3")  # "en" is British

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@functools.cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    return library, library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0)


@functools.lru_cache(maxsize=512)
def say(text: str, *, voice: str = "en-us", wpm: int = 160, rate_hz: int = 16_000) -> bytes:
    """Return the text as mono 16-bit PCM at `rate_hz`, with no silence added."""
    library, native_hz = _espeak()
    blocks: list[np.ndarray] = []

    def take(samples: object, number: int, _events: object) -> int:
        if samples and number:
            blocks.append(np.ctypeslib.as_array(samples, (number,)).copy())
        return 0

    callback = _CALLBACK(take)
    library.espeak_SetSynthCallback(callback)
    assert library.espeak_SetVoiceByName(voice.encode()) == 0, f"no voice {voice}"
    library.espeak_SetParameter(RATE, wpm, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, CHARS_UTF8, None, None)
    pcm = np.concatenate(blocks)
    return soxr.resample(pcm, native_hz, rate_hz).astype("<i2").tobytes()


def silence(seconds: float, *, rate_hz: int = 16_000) -> bytes:
    """Return digital silence."""
    return bytes(2 * int(seconds * rate_hz))


def noise(seconds: float, *, rms: float, rate_hz: int = 16_000, seed: int = 1) -> bytes:
    """Return white noise of `rms` (in 16-bit steps)."""
    samples = np.random.default_rng(seed).normal(0, rms, int(seconds * rate_hz))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


def mixed_with_noise(pcm: bytes, *, snr_db: float, seed: int = 1) -> bytes:
    """Return `pcm` with white noise added at the given signal-to-noise ratio."""
    speech = np.frombuffer(pcm, "<i2").astype(float)
    rms = float(np.sqrt(np.mean(speech**2))) / 10 ** (snr_db / 20)
    added = np.random.default_rng(seed).normal(0, rms, len(speech))
    return (speech + added).clip(-32768, 32767).astype("<i2").tobytes()
