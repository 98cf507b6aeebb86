"""Turns single frames into events, where earlier frames do not matter."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputDTMFFrame,
    MetricsFrame,
    TranscriptionFrame,
)
from pipecat.metrics.metrics import (
    LLMUsageMetricsData,
    MetricsData,
    STTUsageMetricsData,
    TTSUsageMetricsData,
)

from calls.events import (
    Event,
    KeyPressed,
    ProviderFailed,
    TranscriptFinal,
    UsageMeasured,
)
from calls.keyed_entry import MASKED
from calls.transcript import Heard
from processors.answering.model_answer import NoModelLeftError
from processors.hearing.keypad import KEYPAD, KeyedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """When and where a frame was seen, and the state of the call."""

    at_s: float  # monotonic
    source: str  # the processor that pushed it
    turn: int  # the latest decided turn
    unanswered: bool  # the caller is speaking, or has said something that no model was asked about
    provider_of: Callable[[str], str]  # returns the active rung for a processor's name


Reading: TypeAlias = Callable[[Any, Seen], Iterable[Event]]
"""Returns the events in a frame of one type."""


def stage_of(processor: str) -> str:
    """Return the stage in a Pipecat processor's name: stt, llm, tts or line."""
    return next((stage for stage in ("stt", "llm", "tts") if stage in processor.lower()), "line")


def usage(data: MetricsData) -> tuple[str, dict[str, Any]] | None:
    """Return the stage and the billed amounts in a measurement, or `None`."""
    found = USES.get(type(data))
    return (found[0], found[1](data)) if found else None


def _token_amounts(data: LLMUsageMetricsData) -> dict[str, Any]:
    """Return the tokens of one answer, as fields of `UsageMeasured`."""
    return {
        "prompt_tokens": data.value.prompt_tokens,
        "completion_tokens": data.value.completion_tokens,
        "cached_tokens": data.value.cache_read_input_tokens or 0,
    }


def _character_amounts(data: TTSUsageMetricsData) -> dict[str, Any]:
    """Return the characters that a voice was given, as fields of `UsageMeasured`."""
    return {"characters": data.value}


def _audio_amounts(data: STTUsageMetricsData) -> dict[str, Any]:
    """Return the seconds of audio that a recogniser was given, as fields of `UsageMeasured`."""
    return {"audio_s": data.value.audio_seconds}


USES: Final[Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    LLMUsageMetricsData: ("llm", _token_amounts),
    TTSUsageMetricsData: ("tts", _character_amounts),
    STTUsageMetricsData: ("stt", _audio_amounts),
}


def _read_transcript(frame: TranscriptionFrame, seen: Seen) -> Iterable[Event]:
    """Yield the event of a final transcript, which belongs to the turn that is not decided yet."""
    heard = frame.result if isinstance(frame.result, Heard) else Heard()
    yield TranscriptFinal(
        turn=seen.turn + 1,
        at_s=seen.at_s,
        provider=seen.provider_of(seen.source),
        text=frame.text,
        language=str(frame.language) if frame.language else None,
        confidence=heard.confidence,
        alternatives=heard.others,
    )


def _read_key(_frame: InputDTMFFrame, _seen: Seen) -> Iterable[Event]:
    yield KeyPressed(key=MASKED)  # the key may belong to a PIN


def _read_entry(frame: KeyedFrame, seen: Seen) -> Iterable[Event]:
    """Yield a keypad entry as the transcript of the turn that is not decided yet."""
    yield TranscriptFinal(
        turn=seen.turn + 1, at_s=seen.at_s, provider=KEYPAD, text=frame.recorded, language=None
    )


def _read_error(frame: ErrorFrame, seen: Seen) -> Iterable[Event]:
    """Yield the event of a service's error; none if the stage has reported it already."""
    if isinstance(frame.exception, NoModelLeftError):
        return  # already reported: each rung's failure, and that no rung is left
    source = frame.processor.name if frame.processor else seen.source
    cause = type(frame.exception).__name__ if frame.exception else "error"
    yield ProviderFailed(
        stage=stage_of(source),
        provider=seen.provider_of(source),
        error=f"{frame.category.value if frame.category else 'unknown'}: {cause}",
    )


def _read_metrics(frame: MetricsFrame, seen: Seen) -> Iterable[Event]:
    """Yield an event for each measured use of a provider in a frame."""
    for value in frame.data:
        if measured := usage(value):
            stage, amounts = measured
            is_next_turn = stage == "stt" and seen.unanswered  # its words are not decided yet
            yield UsageMeasured(
                turn=seen.turn + is_next_turn,
                stage=stage,
                provider=seen.provider_of(value.processor),
                model=value.model or "",
                **amounts,
            )


READINGS: Final[Mapping[type[Frame], Reading]] = {
    TranscriptionFrame: _read_transcript,
    InputDTMFFrame: _read_key,
    KeyedFrame: _read_entry,
    ErrorFrame: _read_error,
    MetricsFrame: _read_metrics,
}
