"""Cartesia: streaming text to speech with word times, probes, and whole texts.

A continued context keeps its prosody, so the first piece of a reply has only three words
(`catalog.py`).
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from pipecat.services.cartesia.tts import CartesiaTTSService

from calls.voice import VoiceEar
from fallbacks.classification import classify_message, classify_symptom
from fallbacks.symptoms import Moment, Symptom
from providers.batch import BatchRequest, checked_samples, http_base, patience_s, post
from providers.probing import WORDS, Question, Verdict, ask_http, ask_socket, http_twin, is_audible
from providers.provider import RungSpec
from providers.tapped_voice import TappedVoice

MODEL: Final = "sonic-3"
VOICE: Final = "e07c00bc-4134-4eae-9ea4-1a55fb45746b"  # Brooke, of Cartesia's public library
VERSION: Final = "2026-03-01"  # the API version that Pipecat 1.14 speaks


class Cartesia(TappedVoice, CartesiaTTSService):
    """Pipecat's service with a tap on its socket."""

    async def read_message(self, ear: VoiceEar, message: Mapping[str, Any]) -> None:
        """Report the words, audio, end or error in a message; other contexts are ignored.

        Source: docs.cartesia.ai, the WebSocket's responses, 2026-03-01.
        """
        context = self.tap.find_context(message.get("context_id"))
        match message.get("type"):
            case "error":
                await self.tap.report_error(ear, message, name=message.get("context_id"))
            case "chunk" if context:
                context.flowing = True
                await ear.sound(context.attempt, base64.b64decode(message.get("data") or ""))
            case "timestamps" if context:
                times: Mapping[str, Any] = message.get("word_timestamps") or {}
                lists = (times.get(key) or [] for key in ("words", "start", "end"))
                for word, *span in zip(*lists, strict=False):
                    start_s, end_s = map(float, span)  # a malformed time counts as garbage
                    await ear.word(context.attempt, str(word), start_s=start_s, end_s=end_s)
            case "done" if context:
                await self.tap.report_done(ear, context)
            case _:
                pass


def build(rung: RungSpec) -> Cartesia:
    """Return a voice that speaks through this rung at the leg's own rate."""
    return Cartesia(
        rung_name=rung.name,
        kind=rung.kind,
        api_key=rung.api_key,
        url=rung.url,
        sample_rate=rung.sample_rate_hz,
        settings=CartesiaTTSService.Settings(
            model=rung.model or MODEL,
            voice=rung.voice or VOICE,
            language=rung.language,
            **rung.options,
        ),
    )


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """List one voice: authenticated, free of charge, without synthesis.

    Raises:
        ProbeFailedError: The provider refused, or did not answer in time.
    """
    await ask_http(
        http_twin(rung.url, "/voices") + "?limit=1",
        headers={"X-API-Key": rung.api_key, "Cartesia-Version": VERSION},
        timeout_s=timeout_s,
    )


PROBE_CONTEXT: Final = "probe"


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Synthesise two words.

    Raises:
        ProbeFailedError: Cartesia refused, or no audio arrived in time.
    """
    request = {
        "transcript": WORDS,
        "continue": False,
        "context_id": PROBE_CONTEXT,
        "model_id": rung.model or MODEL,
        "voice": {"mode": "id", "id": rung.voice or VOICE},
        "language": rung.language,
        "output_format": {
            "container": "raw",
            "encoding": "pcm_s16le",
            "sample_rate": rung.sample_rate_hz,
        },
        "max_buffer_delay_ms": 0,
    }
    question = Question(
        url=rung.url,
        headers={"X-API-Key": rung.api_key, "Cartesia-Version": VERSION},
        messages=(json.dumps(request),),
        read=_read_probe,
        silence=Symptom.NO_AUDIO,
        goodbye=json.dumps({"context_id": PROBE_CONTEXT, "cancel": True}),
    )
    await ask_socket(question, rung, timeout_s=timeout_s)


def _read_probe(message: Mapping[str, Any]) -> Verdict:
    """Return whether a message has audible audio; an error, or an end before that, is a finding."""
    match message.get("type"):
        case "chunk":
            return is_audible(message.get("data"))
        case "error":
            return classify_message("cartesia", message, moment=Moment.ASKED)
        case "done":
            return classify_symptom(Symptom.SHORT_AUDIO)
        case _:
            return False


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: Cartesia failed; holds the failure.
    """
    body = {
        "model_id": rung.model or MODEL,
        "transcript": text,
        "voice": {"mode": "id", "id": rung.voice or VOICE},
        "language": rung.language,
        "output_format": {
            "container": "raw",
            "encoding": "pcm_s16le",
            "sample_rate": rung.sample_rate_hz,
        },
    }
    request = BatchRequest(
        # `url` is the whole websocket URL; the batch endpoint is its sibling.
        url=f"{http_base(rung.url).rpartition('/')[0]}/bytes",
        headers={
            "X-API-Key": rung.api_key,
            "Cartesia-Version": VERSION,
            "Content-Type": "application/json",
        },
        body=json.dumps(body).encode(),
        within_s=patience_s(rung, text),
    )
    return checked_samples(await post(request, rung), rung, text)
