"""Speech as an HTTP body: raw audio, a file, JSON lines or server-sent events."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from lab.simulators.faults import Fault
from lab.simulators.instance import ADMISSION, Instance, no_credit_response
from lab.simulators.listener import abort
from lab.simulators.voices.pieces import AudioPiece, PieceEnd
from lab.simulators.voices.speaking import LabUtterance, UtteranceOver
from lab.simulators.voices.voices import Speech

Render: TypeAlias = Callable[[AudioPiece, Fault | None], bytes]


class SpokenBody:
    """A `SpeechChannel` that writes an HTTP body; it starts with the first audio."""

    def __init__(
        self,
        instance: Instance,
        request: web.Request,
        *,
        headers: Mapping[str, str],
        render: Render,
        piece_end: PieceEnd,
    ) -> None:
        self.piece_end = piece_end
        self._instance = instance
        self._request = request
        self._render = render
        self._response = web.StreamResponse(headers=headers)
        self._refusal: web.Response | None = None

    async def speak(self, speech: Speech, *, last: bytes = b"") -> web.StreamResponse:
        """Send everything and `last`, as far as the faults allow; return the handler's answer."""
        utterance = LabUtterance(self._instance, self._request[ADMISSION], self)
        try:
            await utterance.say(speech, fresh=True)
        except UtteranceOver:
            last = b""
            if self._refusal is not None:
                return self._refusal
        await self._write(last)
        await self._response.write_eof()
        return self._response

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Write a piece in the body's format."""
        await self._write(self._render(piece, fault))

    async def garbage(self) -> None:
        """Write bytes that are neither JSON nor whole samples."""
        await self._write(b'{"\x00\xff garbage\n')

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Answer with the error, or break the connection if the body has begun."""
        del with_id  # HTTP has no contexts
        self._refuse(self._instance.error_response(status, code=code))

    async def quota(self, code: str | None) -> None:
        """Answer like an account without credit."""
        self._refuse(no_credit_response(self._instance, code))

    async def close(self) -> None:
        """Leave the rest out; the body ends as if it were complete."""

    def reset(self) -> None:
        """Break the connection."""
        abort(self._request.transport)
        raise ConnectionResetError

    def _refuse(self, refusal: web.Response) -> None:
        if self._response.prepared:
            self.reset()
        self._refusal = refusal

    async def _write(self, audio: bytes) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)
        if audio:
            await self._response.write(audio)
