"""Callers made with the engine of the lab's voices, but with voices of their own."""

import functools
import io

import numpy as np
import soundfile

from lab.simulators.voices.voices import SimulatedVoice, new_engine, speak_now

VOICES = {
    "american": SimulatedVoice(variant="", words_per_minute=160),
    "british": SimulatedVoice(variant="", accent="en", words_per_minute=160),
    "woman": SimulatedVoice(variant="f3", words_per_minute=160),
    "man": SimulatedVoice(variant="m3", words_per_minute=160),
}


@functools.lru_cache(maxsize=512)
def say(text: str, *, voice: str = "american", rate_hz: int = 16_000) -> bytes:
    """Return the text as mono 16-bit PCM, with no silence added: the same in every test."""
    engine = new_engine()  # a new one: espeak-ng's breath depends on everything that it said before
    try:
        speech = speak_now(text, voice=VOICES[voice], rate_hz=rate_hz, engine=engine)
    finally:
        engine.unload()
    return speech.samples.astype("<i2").tobytes()


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


def word_errors(said: tuple[str, ...], heard: tuple[str, ...]) -> int:
    """Return how many words must be changed, added or removed to turn one into the other."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        above, row[0] = row[:], i
        for j, other in enumerate(heard, start=1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other))
    return row[-1]


def as_wav(pcm: bytes, *, rate_hz: int = 16_000) -> bytes:
    """Return 16-bit PCM as a wav file."""
    return _written(pcm, rate_hz=rate_hz, container="WAV", subtype="PCM_16")


def _written(pcm: bytes, *, rate_hz: int, container: str, subtype: str) -> bytes:
    file = io.BytesIO()
    samples = np.frombuffer(pcm, "<i2").astype(np.int16)
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()
