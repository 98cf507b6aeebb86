"""Deepgram: the real probe, and recognition of whole recordings."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import urlencode

from calls.transcript import HeardWord, OtherReading, Transcript
from fallbacks.classification import classify_message
from fallbacks.symptoms import Moment, Symptom
from providers.batch import BatchRequest, http_base, post, rung_error
from providers.deepgram import MODEL
from providers.probing import Question, Verdict, ask_socket, speech
from providers.provider import RungSpec, WholeRecording
from runtime.http import parse_json

FINALIZE: Final = json.dumps({"type": "Finalize"})
CLOSE: Final = json.dumps({"type": "CloseStream"})


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Send half a second of speech; any result is an answer, whatever the language.

    Raises:
        ProbeFailedError: Deepgram refused, or no result arrived in time.
    """
    samples, rate_hz = speech()
    query = {
        "model": rung.model or MODEL,
        "language": rung.language,
        "encoding": "linear16",
        "sample_rate": rate_hz,
        "interim_results": "true",
        "mip_opt_out": "true",
    }
    options = {**rung.options, **rung.options.get("extra", {})}
    query |= {
        key: _query_value(value)
        for key, value in options.items()
        if key != "extra" and value is not None
    }
    question = Question(
        url=f"{rung.url.rstrip('/')}/v1/listen?{urlencode(query, doseq=True)}",
        headers={"Authorization": f"Token {rung.api_key}"},
        messages=(samples, FINALIZE),
        read=_read_probe,
        silence=Symptom.NO_RESULTS,
        goodbye=CLOSE,
    )
    await ask_socket(question, rung, timeout_s=timeout_s)


def _query_value(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _read_probe(message: Mapping[str, Any]) -> Verdict:
    """Return whether a message is a result, with words or without; an error is a finding."""
    match message.get("type"):
        case "Results":
            return True
        case "Error":
            return classify_message("deepgram", message, moment=Moment.ASKED)
        case _:
            return False


BYTES_A_SECOND: Final = 50_000  # of a recording, sent and recognised; chosen: 3 s of audio at 8 kHz
MAX_PROCESSING_S: Final = 600.0  # deepgram-docs, "API rate limits": the longest processing time
WAV: Final = b"RIFF"


async def transcribe(rung: RungSpec, recording: WholeRecording) -> Transcript:
    """Return what a recording says.

    Raises:
        ServiceError: Deepgram failed; holds the failure.
    """
    size = len(recording.content)
    # Deepgram detects the container whatever the header says, but requires the header.
    kind = "audio/wav" if recording.content.startswith(WAV) else "audio/*"
    request = BatchRequest(
        url=f"{http_base(rung.url)}/v1/listen",
        query=_recording_query(rung, recording),
        headers={"Authorization": f"Token {rung.api_key}", "Content-Type": kind},
        body=recording.content,
        within_s=min(rung.timeout_s + size / BYTES_A_SECOND, MAX_PROCESSING_S),
    )
    answer = await post(request, rung)
    try:
        return _transcript_from_answer(parse_json(answer.body), rung, recording)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise rung_error(Symptom.GARBAGE, rung, "the answer is not a transcript") from error


def _recording_query(rung: RungSpec, recording: WholeRecording) -> dict[str, str | int]:
    """Return the query for a whole recording.

    Without a language, Deepgram detects it.
    """
    query: dict[str, str | int] = {
        "model": rung.model or MODEL,
        "smart_format": "true",
        "mip_opt_out": "true",  # keep the caller's voice out of training
    }
    if recording.language is None:
        query["detect_language"] = "true"
    else:
        query["language"] = recording.language
    if rung.alternatives > 1:
        query["alternatives"] = rung.alternatives
    return query


def _transcript_from_answer(body: Any, rung: RungSpec, recording: WholeRecording) -> Transcript:
    """Return an answer as a transcript; raise `ValueError`, `LookupError` or `TypeError` otherwise.

    Source: deepgram-api-specs `openapi.yml`, ListenV1Response.
    """
    channel: Mapping[str, Any] = body["results"]["channels"][0]
    best, *others = cast("Sequence[Mapping[str, Any]]", channel["alternatives"])
    detected = channel.get("detected_language")
    confidence = channel.get("language_confidence") if detected else None
    return Transcript(
        text=_checked_text(best),
        provider=rung.name,
        language=str(detected) if detected else recording.language,
        language_confidence=None if confidence is None else float(confidence),
        duration_s=float(body["metadata"]["duration"]),
        confidence=_confidence_of(best),
        alternatives=tuple(
            OtherReading(text=_checked_text(item), confidence=_confidence_of(item))
            for item in others
        ),
        words=tuple(_heard_word(item) for item in best.get("words") or ()),
    )


def _checked_text(reading: Mapping[str, Any]) -> str:
    """Return the text of a reading.

    Raises:
        KeyError, TypeError: It has none, or it is no text.
    """
    text = reading["transcript"]
    if not isinstance(text, str):
        raise TypeError("transcript is not text")
    return text


def _confidence_of(item: Mapping[str, Any]) -> float | None:
    """Return the confidence of a word or reading, 0 to 1; `None` if it has none."""
    confidence = item.get("confidence")
    return None if confidence is None else float(confidence)


def _heard_word(word: Mapping[str, Any]) -> HeardWord:
    """Return a word of an answer with its times and its confidence.

    Raises:
        KeyError, TypeError, ValueError: A part is missing or has the wrong type.
    """
    return HeardWord(
        text=str(word.get("punctuated_word") or word["word"]),
        start_s=float(word["start"]),
        end_s=float(word["end"]),
        confidence=_confidence_of(word),
    )
