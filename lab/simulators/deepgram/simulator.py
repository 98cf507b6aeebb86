"""A simulated Deepgram: `/v1/listen` as a websocket and for whole files, `/v1/projects`.

It recognises real speech, with pocketsphinx and a language model of what callers say to a reception
(`data/domain.txt`).
"""

import asyncio
import dataclasses
import hashlib
import hmac
import io
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import soundfile
from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission, RequestRefused, hang
from lab.simulators.deepgram import errors as deepgram_errors
from lab.simulators.deepgram.errors import REQUEST_ID
from lab.simulators.deepgram.results import BadQueryError, Query, ResultsBuilder, new_id, parse
from lab.simulators.deepgram.sender import GARBAGE, DeepgramStream
from lab.simulators.deepgram.socket import DeepgramSocket, StreamLimits
from lab.simulators.ears.ears import Ears
from lab.simulators.ears.heard import ENCODINGS, HearingSettings, RecognisedWord
from lab.simulators.ears.known import KnownEars
from lab.simulators.instance import Core, Instance, no_credit_response
from lab.simulators.pace import Tempo
from lab.simulators.server import abort

SCHEMES: Final = ("token", "bearer")
MESSAGE_BYTES: Final = 4 << 20  # of one websocket message; chosen: two minutes of audio at 16 kHz
PIECE_S: Final = 1.0  # of a whole file, passed to the recogniser at once


class DeepgramSimulator(Instance):
    """One simulated Deepgram project on its own port.

    Attributes:
        spoken: The language that results name, from the next stream on.
    """

    kind: ClassVar[str] = "deepgram"
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.08,  # p99 is then 0.15 s
        spread=0.27,
        rate=1.0,  # unused: results follow the audio
        source="Pipecat's stt_latency.py: 0.35 s p99 from the end of speech, including the"
        " 0.2 s that its detector waits before it asks for the final result",
    )

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        core: Core | None = None,
        grammar: Sequence[str] = (),
        limits: StreamLimits | None = None,
    ) -> None:
        """Create a project.

        Args:
            name: Of the instance.
            api_key: The accepted key; `None` for a random one.
            core: Shared by the instances of a lab.
            grammar: The only phrases to recognise; empty for the receptionist's domain.
            limits: Its limits.
        """
        core = core or Core()
        super().__init__(name, api_key=api_key, core=core)
        self.limits = limits or (StreamLimits(intake_cap=None) if core.uncapped else StreamLimits())
        self.spoken = "en"
        self._grammar = tuple(grammar)
        # The recogniser's process starts with the first stream: most labs never need it.
        self._ears: Ears | KnownEars = core.ears or Ears()

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's routes."""
        return [
            web.get("/v1/listen", self._serve_stream),
            web.post("/v1/listen", self._serve_file),
            web.get("/v1/projects", self._serve_projects),
        ]

    @property
    def url(self) -> str:
        """The websocket base."""
        return self.server.base_url("ws")

    async def stop(self) -> None:
        """Stop the server and the recogniser."""
        await super().stop()
        await self._ears.stop()

    def is_authorised(self, request: web.Request) -> bool:
        """Accept the key in the header or, from browsers, as the second subprotocol."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if not key:
            protocols = request.headers.get("Sec-WebSocket-Protocol", "")
            scheme, _, key = protocols.partition(",")
        known = scheme.strip().lower() in SCHEMES
        return known and hmac.compare_digest(key.strip().encode(), self.api_key.encode())

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return Deepgram's answer for an HTTP error."""
        return deepgram_errors.response(status, code=code, retry_after_s=retry_after_s)

    async def _serve_stream(self, request: web.Request) -> web.StreamResponse:
        """Serve a stream until one side ends it."""
        admission = await self.admit(request)
        query = _read_query(request, admission, streaming=True)
        ws = web.WebSocketResponse(
            protocols=SCHEMES, compress=False, max_msg_size=MESSAGE_BYTES, timeout=1.0
        )
        builder = ResultsBuilder(query, spoken=self.spoken)
        ws.headers[REQUEST_ID] = builder.request_id
        await ws.prepare(request)
        ears = await self._ears.open(query.hearing_settings(grammar=self._grammar))
        stream = DeepgramStream(request=request, admission=admission, ws=ws)
        await DeepgramSocket(self, stream, builder=builder, ears=ears, limits=self.limits).run()
        return ws

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        """Recognise a whole file, and answer after the delay, as the current fault allows."""
        admission = await self.admit(request)
        query = _read_query(request, admission, streaming=False)
        audio = await request.read()
        try:
            settings, pcm = await asyncio.to_thread(self._decode_file, query, audio)
        except (soundfile.LibsndfileError, ValueError) as wrong:
            admission.mark_malformed(str(wrong))
            raise RequestRefused(
                deepgram_errors.response(
                    400, code="Bad Request", text="failed to process audio: corrupt or unsupported"
                )
            ) from wrong
        words = await self._recognise_recording(settings, pcm)
        await self.pace.wait_first()
        await self._break_answer(request, admission)
        if isinstance(admission.fault_now(), faults.Garbage):
            return web.Response(text=GARBAGE, content_type="application/json")
        builder = ResultsBuilder(query, spoken=self.spoken)
        audio_s = len(pcm) / (settings.rate_hz * ENCODINGS[settings.encoding])
        answer = builder.batch(words, audio_s=audio_s, audio=hashlib.sha256(audio))
        admission.request.details["finals"] = [" ".join(word.text for word in words)]
        return web.json_response(answer, headers={REQUEST_ID: builder.request_id})

    async def _serve_projects(self, request: web.Request) -> web.StreamResponse:
        await self.admit(request)
        project = {"project_id": new_id(), "name": f"{self.name} (simulated)"}
        return web.json_response({"projects": [project]}, headers={REQUEST_ID: new_id()})

    def _decode_file(self, query: Query, audio: bytes) -> tuple[HearingSettings, bytes]:
        """Return a file's samples and settings; libsndfile reads wav, flac and ogg."""
        if query.encoding is not None:
            return query.hearing_settings(grammar=self._grammar), audio
        samples, rate_hz = soundfile.read(io.BytesIO(audio), dtype="int16", always_2d=True)
        mono = np.asarray(samples)[:, 0].astype("<i2").tobytes()
        return query.hearing_settings(grammar=self._grammar, file_hz=rate_hz), mono

    async def _recognise_recording(
        self, settings: HearingSettings, pcm: bytes
    ) -> list[RecognisedWord]:
        """Return all words of a recording."""
        settings = dataclasses.replace(settings, endpoint_s=0.5)
        stream = await self._ears.open(settings)
        piece = int(settings.rate_hz * PIECE_S) * ENCODINGS[settings.encoding]
        try:
            for at in range(0, len(pcm), piece):
                await stream.hear(pcm[at : at + piece])
            await stream.flush()
            words: list[RecognisedWord] = []
            async for heard in stream.results():
                words += heard.words if heard.what in ("final", "flushed") else ()
                if heard.what == "flushed":
                    break
        finally:
            await stream.close()
        return words

    async def _break_answer(self, request: web.Request, admission: Admission) -> None:
        """Apply a fault meant for streams to the answer for a file; a silent one never returns.

        Raises:
            RequestRefused: The fault takes the place of the answer.
        """
        match admission.fault_now():
            case faults.Silent() | faults.Stall() | faults.Alive():
                await hang()
            case faults.Cut():
                abort(request.transport)
                raise RequestRefused(web.Response(status=500))
            case faults.SlowStart(delay_s=delay_s):
                await asyncio.sleep(delay_s / self.speed)
            case faults.ErrorEvent(status=status, code=code):
                raise RequestRefused(self.error_response(status, code=code))
            case faults.Quota(code=code):
                raise RequestRefused(no_credit_response(self, code))
            case _:
                pass


def _read_query(request: web.Request, admission: Admission, *, streaming: bool) -> Query:
    """Return the query; mark a request as malformed, and refuse it, if Deepgram would."""
    try:
        return parse(request.query, streaming=streaming)
    except BadQueryError as wrong:
        admission.mark_malformed(str(wrong))
        raise RequestRefused(deepgram_errors.response(400, text=str(wrong))) from wrong
