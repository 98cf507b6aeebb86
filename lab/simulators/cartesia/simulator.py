"""A simulated Cartesia: the websocket with contexts, `/tts/bytes`, `/tts/sse`, `/voices`."""

import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import RequestRefused
from lab.simulators.cartesia.context import CartesiaAccount, CartesiaSocket, piece_events
from lab.simulators.cartesia.request import CartesiaBadRequest, Generation, parse, problem
from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Core, Instance
from lab.simulators.pace import Tempo
from lab.simulators.voices.pieces import (
    AudioPiece,
    ByteShift,
    as_file,
    encode,
    one_piece,
    uneven_ends,
)
from lab.simulators.voices.speaking import SpokenBody
from lab.simulators.voices.voices import (
    Speech,
    UnknownLanguageError,
    speak,
    voice_of,
)

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "raw": "application/octet-stream",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
}
VERSION: Final = re.compile(r"20\d\d-\d\d-\d\d")


class CartesiaSimulator(Instance):
    """One simulated Cartesia account on its own port."""

    kind: ClassVar[str] = "cartesia"
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.12,
        spread=0.25,
        rate=4.0,  # seconds of audio a second
        source="chosen: the 90 ms that Cartesia states for Sonic, and a network between",
    )

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        core: Core | None = None,
        plan: CartesiaAccount | None = None,
    ) -> None:
        super().__init__(name, api_key=api_key, core=core)
        self.voice = voice_of(name, word_by_word=core is not None and core.word_by_word)
        self.plan = plan or CartesiaAccount()

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's routes."""
        return [
            web.get("/tts/websocket", self._serve_websocket),
            web.post("/tts/bytes", self._serve_bytes),
            web.post("/tts/sse", self._serve_sse),
            web.get("/voices", self._serve_voices),
        ]

    @property
    def url(self) -> str:
        """The complete websocket URL."""
        return f"{self.server.base_url('ws')}/tts/websocket"

    def is_authorised(self, request: web.Request) -> bool:
        """Accept the key as a header, as a bearer token or, for browsers, in the query."""
        given = (
            request.headers.get("X-API-Key")
            or request.headers.get("Authorization", "").removeprefix("Bearer ")
            or request.query.get("api_key")
            or request.query.get("access_token", "")
        )
        return hmac.compare_digest(given.encode(), self.api_key.encode())

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return a structured error, as in versions since 2026-03-01."""
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        return web.json_response(problem(status, code=code), status=status, headers=headers)

    async def _serve_websocket(self, request: web.Request) -> web.StreamResponse:
        """Serve a websocket, unless the account has as many as it may have."""
        admission = await self.admit(request)
        version = _read_version(request)
        if self.plan.open_sockets >= self.plan.sockets:
            admission.close("429")
            return self.error_response(429)
        return await CartesiaSocket(
            self, self.voice, request=request, plan=self.plan, version=version
        ).serve()

    async def _serve_bytes(self, request: web.Request) -> web.StreamResponse:
        """Answer with audio as the body: raw samples piece by piece, a file at once."""
        asked = await self._read_generation(request)
        shift = ByteShift()

        def raw(piece: AudioPiece, fault: Fault | None) -> bytes:
            return shift.pass_on(
                encode(piece.samples, asked.encoding), tear=fault == faults.Mistaken(what="odd_pcm")
            )

        def file(piece: AudioPiece, _fault: Fault | None) -> bytes:
            return as_file(piece.samples, asked.rate_hz, container=asked.container)

        streams = asked.container == "raw"
        body = SpokenBody(
            self,
            request,
            headers={"Content-Type": CONTENT_TYPES[asked.container]},
            render=raw if streams else file,
            piece_end=uneven_ends(request[ADMISSION]) if streams else one_piece,
        )
        return await body.speak(await self._synthesise_request(request, asked))

    async def _serve_sse(self, request: web.Request) -> web.StreamResponse:
        """Answer with audio as server-sent events; the last one is `done`."""
        asked = await self._read_generation(request)

        def events(piece: AudioPiece, fault: Fault | None) -> bytes:
            found = piece_events(
                piece, asked, fault=fault, audio=encode(piece.samples, asked.encoding)
            )
            return b"".join(_sse_event(event) for event in found)

        body = SpokenBody(
            self,
            request,
            headers={"Content-Type": "text/event-stream"},
            render=events,
            piece_end=uneven_ends(request[ADMISSION]),
        )
        done = {"type": "done", "done": True, "status_code": 200, "context_id": asked.context_id}
        return await body.speak(
            await self._synthesise_request(request, asked), last=_sse_event(done)
        )

    async def _read_generation(self, request: web.Request) -> Generation:
        """Admit and read a request for speech over HTTP; refuse invalid ones."""
        admission = await self.admit(request)
        _read_version(request)
        try:
            asked = parse(await request.json())
        except (CartesiaBadRequest, json.JSONDecodeError) as wrong:
            raise _refuse_as_malformed(request, str(wrong)) from None
        admission.request.details["text"] = asked.transcript
        return asked

    async def _synthesise_request(self, request: web.Request, asked: Generation) -> Speech:
        """Return the speech of a request; refuse a language that espeak-ng does not speak."""
        try:
            return await speak(
                asked.transcript,
                voice=self.voice.faster(asked.speed),
                rate_hz=asked.rate_hz,
                language=asked.language,
            )
        except UnknownLanguageError as unknown:
            raise _refuse_as_malformed(request, str(unknown)) from None

    async def _serve_voices(self, request: web.Request) -> web.StreamResponse:
        """List one voice; an account without credit gets the list, too."""
        try:
            await self.admit(request)
        except RequestRefused:
            # The list is free, so an account without credit gets it.
            if not isinstance(request[ADMISSION].fault, faults.Quota):
                raise
        _read_version(request)
        return web.json_response(
            {"data": [_voice_entry(self.name)], "has_more": False, "next_page": None}
        )


def _sse_event(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _refuse_as_malformed(request: web.Request, why: str) -> RequestRefused:
    """Mark the request as malformed, and return the refusal to raise."""
    request[ADMISSION].mark_malformed(why)
    return RequestRefused(web.json_response(problem(400, message=why), status=400))


def _read_version(request: web.Request) -> str:
    """Return the API version that a request names; refuse a request without one."""
    given = request.headers.get("Cartesia-Version") or request.query.get("cartesia_version", "")
    if not VERSION.fullmatch(given):
        raise _refuse_as_malformed(request, "The header Cartesia-Version is required.")
    return given


def _voice_entry(name: str) -> dict[str, Any]:
    return {
        "id": f"lab-{name}",
        "name": f"The voice of {name}",
        "access": "public",
        "visibility": "all",
        "is_owner": False,
        "created_at": "2026-01-01T00:00:00Z",
        "description": "espeak-ng",
        "tagline": "",
        "language": "en",
        "locales": [{"locale": "en-US", "is_native": True}],
    }
