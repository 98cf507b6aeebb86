"""The local voice for whole texts."""

import asyncio

from engines.espeak import UnknownVoiceError
from fallbacks.failure import Kind
from fallbacks.symptoms import Symptom
from providers.batch.post import trouble
from providers.local_tts import VOICE, Manner, names, pieces, speak
from providers.provider import RungSpec


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: There is no such voice; holds the failure.
    """
    try:
        pcm = await asyncio.to_thread(_speak, rung, text)
    except (UnknownVoiceError, RuntimeError) as wrong:
        raise trouble(Kind.NOT_FOUND, rung, str(wrong)) from wrong
    if not any(pcm):
        raise trouble(Symptom.ZERO_AUDIO, rung, "silence")
    return pcm


def _speak(rung: RungSpec, text: str) -> bytes:
    voices, manner = names(rung.voice or VOICE, rung.language), Manner(**rung.options)
    spoken = (
        speak(piece, voices, manner=manner, rate_hz=rung.sample_rate_hz) for piece in pieces(text)
    )
    return b"".join(item.samples.tobytes() for item in spoken)
