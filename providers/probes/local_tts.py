"""The local voice: synthesise two words."""

import asyncio

from engines.espeak import UnknownVoiceError
from fallbacks.classification import classify_symptom
from fallbacks.failure import failed
from fallbacks.symptoms import Symptom
from providers.local_tts import VOICE, Manner, names, speak
from providers.probes.morsels import WORDS
from providers.provider import ProbeFailedError, RungSpec


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Synthesise two words.

    Raises:
        ProbeFailedError: The voice does not exist, or produces no sound.
    """
    try:
        async with asyncio.timeout(timeout_s):
            heard = await asyncio.to_thread(_heard, rung)
    except (TimeoutError, UnknownVoiceError, RuntimeError) as wrong:
        raise ProbeFailedError(f"{rung.name}: {wrong or 'the voice hangs'}") from wrong
    if not heard:
        found = failed(classify_symptom(Symptom.ZERO_AUDIO), "tts", provider=rung.name)
        raise ProbeFailedError(f"{rung.name}: the voice produces no sound", failure=found)


def _heard(rung: RungSpec) -> bool:
    voices = names(rung.voice or VOICE, rung.language)
    manner = Manner(**rung.options)
    return bool(speak(WORDS, voices, manner=manner, rate_hz=rung.sample_rate_hz).samples.any())
