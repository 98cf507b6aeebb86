"""OpenAI's voice: one POST for a text, whose answer is raw audio of 24 kHz as it is spoken.

Source: openai/openai-openapi (CreateSpeechRequest), and what openai-python sends.
"""

from typing import Any, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import RequestRefused
from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Instance
from lab.simulators.voices.pieces import AudioPiece, ByteShift, encode, uneven_ends
from lab.simulators.voices.speaking import SpokenBody, spoken_text
from lab.simulators.voices.voices import SimulatedVoice, speak

RATE_HZ: Final = 24_000
MODELS: Final = ("gpt-4o-mini-tts", "tts-1", "tts-1-hd")
FORMATS: Final = ("pcm",)  # those that the lab speaks
FIELDS: Final = ("model", "input", "voice")


async def answer(
    instance: Instance, request: web.Request, *, voice: SimulatedVoice
) -> web.StreamResponse:
    """Answer a request that was admitted: record its text, and send it as speech.

    Raises:
        RequestRefused: OpenAI would refuse it.
    """
    fields = await _read_request(instance, request)
    admission = request[ADMISSION]
    text = str(fields["input"])
    admission.request.details |= {"text": text, "model": fields["model"]}
    speech = await speak(
        spoken_text(text, admission.fault_now()),
        voice=voice.faster(float(fields.get("speed") or 1.0)),
        rate_hz=RATE_HZ,
    )
    shift = ByteShift()

    def render(piece: AudioPiece, fault: Fault | None) -> bytes:
        tear = fault == faults.Mistaken(what="odd_pcm")
        return shift.pass_on(encode(piece.samples, "pcm_s16le"), tear=tear)

    headers = {"Content-Type": "audio/pcm"}
    body = SpokenBody(
        instance, request, headers=headers, render=render, piece_end=uneven_ends(admission)
    )
    return await body.speak(speech)


async def _read_request(instance: Instance, request: web.Request) -> dict[str, Any]:
    """Return the request's fields; refuse one that OpenAI would refuse."""
    try:
        fields = await request.json()
    except ValueError:
        fields = {}
    wrong = [name for name in FIELDS if not isinstance(fields.get(name), str)]
    if fields.get("model") not in MODELS:
        wrong.append("model")
    if fields.get("response_format", "mp3") not in FORMATS:
        wrong.append("response_format")
    if wrong:
        request[ADMISSION].mark_malformed(", ".join(wrong))
        raise RequestRefused(instance.error_response(400))
    return fields
