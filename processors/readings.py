"""What frames say in their own words: stages, alternatives, measured use."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pipecat.metrics.metrics import (
    LLMUsageMetricsData,
    MetricsData,
    STTUsageMetricsData,
    TTSUsageMetricsData,
)


def stage_of(processor: str) -> str:
    """Return the stage that a Pipecat processor's name speaks of: stt, llm, tts or line."""
    return next((stage for stage in ("stt", "llm", "tts") if stage in processor.lower()), "line")


def alternatives(result: Any) -> list[tuple[str, float | None]]:
    """Return a recogniser's readings with their confidence (0..1), the best one first.

    Args:
        result: What the service attached to its transcript: Deepgram's Results message, whose
            shape is `channel.alternatives[].{transcript, confidence}`; anything else gives none.
    """
    found = getattr(getattr(result, "channel", None), "alternatives", None) or ()
    return [(str(each.transcript), getattr(each, "confidence", None)) for each in found]


def usage(data: MetricsData) -> tuple[str, dict[str, Any]] | None:
    """Return the stage and the billed amounts that a measurement speaks of, or None."""
    found = USES.get(type(data))
    return (found[0], found[1](data)) if found else None


def _tokens(data: LLMUsageMetricsData) -> dict[str, Any]:
    return {
        "prompt_tokens": data.value.prompt_tokens,
        "completion_tokens": data.value.completion_tokens,
        "cached_tokens": data.value.cache_read_input_tokens or 0,
    }


def _characters(data: TTSUsageMetricsData) -> dict[str, Any]:
    return {"characters": data.value}


def _seconds(data: STTUsageMetricsData) -> dict[str, Any]:
    return {"audio_s": data.value.audio_seconds}


USES: Final[Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    LLMUsageMetricsData: ("llm", _tokens),
    TTSUsageMetricsData: ("tts", _characters),
    STTUsageMetricsData: ("stt", _seconds),
}
