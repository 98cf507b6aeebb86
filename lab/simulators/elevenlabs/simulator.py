"""A simulated ElevenLabs: the multi-context websocket, streamed HTTP, subscription, voices."""

import base64
import hmac
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import RequestRefused
from lab.simulators.elevenlabs.context import ElevenLabsAccount, ElevenLabsSocket, Format
from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Core, Instance
from lab.simulators.pace import Tempo
from lab.simulators.voices.pieces import (
    AudioPiece,
    ByteShift,
    Character,
    as_file,
    characters,
    characters_in_piece,
    encode,
    one_piece,
    uneven_ends,
)
from lab.simulators.voices.speaking import Render, SpokenBody
from lab.simulators.voices.voices import Speech, UnknownLanguageError, speak, voice_of

# status: type, code, message
USUAL: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("validation_error", "invalid_parameters", "The request parameters are invalid."),
    401: ("authentication_error", "invalid_api_key", "Invalid API key"),
    402: ("payment_required", "payment_required", "Your plan does not include this."),
    403: ("authorization_error", "only_for_creator+", "This needs the plan Creator or above."),
    404: ("not_found", "voice_not_found", "A voice with this voice_id was not found."),
    408: ("timeout", "request_timeout", "The request took too long."),
    429: (
        "rate_limit_error",
        "too_many_concurrent_requests",
        "Too many concurrent requests. Your subscription is limited in how many may run at once.",
    ),
    500: ("internal_error", "internal_server_error", "An unexpected error occurred."),
    503: ("service_unavailable", "service_unavailable", "The service is unavailable."),
}
MESSAGES: Final[Mapping[str, str]] = {
    "quota_exceeded": (
        "This request exceeds your quota of 10000. You have 0 credits remaining, while 91 credits "
        "are required for this request."
    ),
    "system_busy": "The system is experiencing heavy traffic, please try again.",
    "detected_unusual_activity": "Unusual activity detected. Free Tier usage disabled.",
}


def detail(status: int, *, code: str | None = None, message: str | None = None) -> dict[str, Any]:
    """Return the body of an error over HTTP: `code` is the new field, `status` the legacy one.

    Source: elevenlabs.io/docs/eleven-api/resources/errors; the texts are from users' reports.
    """
    kind, usual, words = USUAL.get(status, ("error", "error", "The request failed."))
    name = code or usual
    return {
        "detail": {
            "type": kind,
            "code": name,
            "status": name,
            "message": message or MESSAGES.get(name, words),
            "request_id": uuid.uuid4().hex,
            "param": None,
        }
    }


def unprocessable(field: str) -> dict[str, Any]:
    """Return the web layer's own body for 422, in which `detail` is a list."""
    return {"detail": [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]}


PCM_HZ: Final = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
G711: Final[Mapping[str, str]] = {"ulaw_8000": "pcm_mulaw", "alaw_8000": "pcm_alaw"}
MP3: Final = re.compile(r"mp3_(22050|44100)(_\d+)?")
DEFAULT_FORMAT: Final = "mp3_44100_128"
INACTIVITY_S: Final = (20.0, 180.0)  # the default and the maximum


class ElevenLabsSimulator(Instance):
    """One simulated ElevenLabs account on its own port."""

    kind: ClassVar[str] = "elevenlabs"
    no_credit = (401, "quota_exceeded")  # not 402, so it looks like a wrong key
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.11,
        spread=0.25,
        rate=4.0,  # seconds of audio a second
        source="chosen: the 75 ms that ElevenLabs states for Flash, and Cartesia's network",
    )

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        core: Core | None = None,
        plan: ElevenLabsAccount | None = None,
    ) -> None:
        super().__init__(name, api_key=api_key, core=core)
        self.voice = voice_of(name, word_by_word=core is not None and core.word_by_word)
        self.plan = plan or ElevenLabsAccount()

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's routes."""
        speech = "/v1/text-to-speech/{voice}"
        return [
            web.get(f"{speech}/multi-stream-input", self._serve_websocket),
            web.post(speech, self._serve_audio),
            web.post(f"{speech}/stream", self._serve_audio),
            web.post(f"{speech}/stream/with-timestamps", self._stream_with_timestamps),
            web.get("/v1/user/subscription", self._serve_subscription),
            web.get("/v1/voices", self._serve_voices),
        ]

    @property
    def url(self) -> str:
        """The websocket base; the same port serves HTTP."""
        return self.server.base_url("ws")

    def is_authorised(self, request: web.Request) -> bool:
        """Accept the key in its header or, for browsers, in the query."""
        given = request.headers.get("xi-api-key") or request.query.get("xi-api-key", "")
        return hmac.compare_digest(given.encode(), self.api_key.encode())

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return an error with its `detail`, with the new and the legacy fields."""
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        body = unprocessable("text") if status == 422 else detail(status, code=code)
        return web.json_response(body, status=status, headers=headers)

    async def _serve_websocket(self, request: web.Request) -> web.StreamResponse:
        """Serve a websocket, whose query holds the settings of all its contexts."""
        admission = await self.admit(request)
        encoding, rate_hz = _raw_format(request, "websocket")
        asked_s = request.query.get("inactivity_timeout", str(INACTIVITY_S[0]))
        if not asked_s.replace(".", "", 1).isdigit() or float(asked_s) > INACTIVITY_S[1]:
            raise _refuse_as_malformed(
                request, 400, f"inactivity_timeout is {asked_s}; at most 180"
            )
        if request.query.get("model_id", "").startswith("eleven_v3"):
            raise _refuse_as_malformed(request, 400, "eleven_v3 is not available on this endpoint")
        fixed = Format(
            encoding=encoding,
            rate_hz=rate_hz,
            language=request.query.get("language_code", "en"),
            auto=request.query.get("auto_mode") == "true",
            inactivity_s=float(asked_s),
        )
        admission.request.details["model"] = request.query.get("model_id")
        return await ElevenLabsSocket(
            self, self.voice, request=request, plan=self.plan, fixed=fixed
        ).serve()

    async def _serve_audio(self, request: web.Request) -> web.StreamResponse:
        """Answer with raw audio piece by piece, or with a complete mp3 file."""
        speech = await self._synthesise_request(request)
        mp3 = _is_mp3(request)
        shift = ByteShift()

        def raw(piece: AudioPiece, fault: Fault | None) -> bytes:
            tear = fault == faults.Mistaken(what="odd_pcm")
            return shift.pass_on(encode(piece.samples, _raw_format(request)[0]), tear=tear)

        def file(piece: AudioPiece, _fault: Fault | None) -> bytes:
            return as_file(piece.samples, speech.rate_hz, container="mp3")

        return await self._answer_with_speech(
            request, speech, render=file if mp3 else raw, kind="audio/mpeg"
        )

    async def _stream_with_timestamps(self, request: web.Request) -> web.StreamResponse:
        """Answer with a line of JSON for each piece: its audio, and the times of its characters."""
        speech = await self._synthesise_request(request)
        found = characters(speech)

        def line(piece: AudioPiece, fault: Fault | None) -> bytes:
            blind = fault == faults.Mistaken(what="null_alignment")
            times = (
                None
                if blind or piece.speech is None
                else _in_seconds(characters_in_piece(piece, found), piece)
            )
            audio = (
                as_file(piece.samples, speech.rate_hz, container="mp3")
                if _is_mp3(request)
                else encode(piece.samples, _raw_format(request)[0])
            )
            row = {
                "audio_base64": base64.b64encode(audio).decode(),
                "alignment": times,
                "normalized_alignment": times,
            }
            return json.dumps(row).encode() + b"\n"

        return await self._answer_with_speech(request, speech, render=line, kind="application/json")

    async def _answer_with_speech(
        self, request: web.Request, speech: Speech, *, render: Render, kind: str
    ) -> web.StreamResponse:
        """Answer with the speech as a body, or refuse it if the plan does not allow it now."""
        refused = await self.plan.begin(len(speech.text))
        if refused is not None:
            status = 401 if refused == "quota_exceeded" else 429
            raise RequestRefused(self.error_response(status, code=refused))
        headers = {
            "Content-Type": kind,
            "request-id": uuid.uuid4().hex,
            "character-cost": str(len(speech.text)),
            "current-concurrent-requests": str(self.plan.generating),
            "maximum-concurrent-requests": str(self.plan.concurrent),
        }
        ends = one_piece if _is_mp3(request) else uneven_ends(request[ADMISSION])
        try:
            body = SpokenBody(self, request, headers=headers, render=render, piece_end=ends)
            return await body.speak(speech)
        finally:
            self.plan.end()

    async def _synthesise_request(self, request: web.Request) -> Speech:
        """Admit and synthesise a request for speech over HTTP; refuse an invalid one."""
        admission = await self.admit(request)
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = None
        fields: dict[str, Any] = body if isinstance(body, dict) else {}
        text = fields.get("text")
        if not isinstance(text, str):
            admission.mark_malformed("no text")
            raise RequestRefused(web.json_response(unprocessable("text"), status=422))
        admission.request.details["text"] = text
        rate_hz = 44100 if _is_mp3(request) else _raw_format(request)[1]
        language = str(fields.get("language_code") or "en")
        try:
            return await speak(text, voice=self.voice, rate_hz=rate_hz, language=language)
        except UnknownLanguageError as unknown:
            raise _refuse_as_malformed(request, 400, str(unknown)) from None

    async def _serve_subscription(self, request: web.Request) -> web.StreamResponse:
        """Answer with the characters used and allowed; all are used while the fault is `Quota`."""
        used = self.plan.character_count
        try:
            await self.admit(request)
        except RequestRefused:
            # The request is free, so an account without credit gets its state.
            if not isinstance(request[ADMISSION].fault, faults.Quota):
                raise
            used = self.plan.character_limit
        return web.json_response(
            {
                "tier": "scale",
                "character_count": used,
                "character_limit": self.plan.character_limit,
                "status": "active",
            }
        )

    async def _serve_voices(self, request: web.Request) -> web.StreamResponse:
        await self.admit(request)
        voice = {"voice_id": f"lab-{self.name}", "name": f"The voice of {self.name}"}
        return web.json_response({"voices": [voice | {"category": "premade"}]})


def _in_seconds(found: Sequence[Character], piece: AudioPiece) -> dict[str, Any]:
    """Return the characters' times from the start of the body.

    Over HTTP, times do not restart with every line.
    """
    return {
        "characters": [char.text for char in found],
        "character_start_times_seconds": [round(piece.start_s + c.start_s, 3) for c in found],
        "character_end_times_seconds": [round(piece.start_s + c.end_s, 3) for c in found],
    }


def _raw_format(request: web.Request, where: str = "stream") -> tuple[str, int]:
    """Return encoding and rate of a raw output format; refuse other formats."""
    asked = request.query.get("output_format", DEFAULT_FORMAT)
    if asked in G711:
        return G711[asked], 8000
    kind, _, rate = asked.partition("_")
    if kind == "pcm" and rate in map(str, PCM_HZ):
        return "pcm_s16le", int(rate)
    raise _refuse_as_malformed(
        request, 400, f"output_format {asked!r} is not one that the lab speaks on a {where}"
    )


def _is_mp3(request: web.Request) -> bool:
    return bool(MP3.fullmatch(request.query.get("output_format", DEFAULT_FORMAT)))


def _refuse_as_malformed(request: web.Request, status: int, why: str) -> RequestRefused:
    """Mark the request as malformed, and return the refusal to raise."""
    request[ADMISSION].mark_malformed(why)
    return RequestRefused(web.json_response(detail(status, message=why), status=status))
