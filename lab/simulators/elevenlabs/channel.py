"""An ElevenLabs context's messages: audio with character times, errors, the end.

Source: ElevenLabs API reference (multi-context websocket), elevenlabs-python's wire types.
"""

import base64
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.listener import abort
from lab.simulators.voices.alignment import Character, characters, of_piece
from lab.simulators.voices.encoding import Torn, encode
from lab.simulators.voices.pieces import AudioPiece
from lab.simulators.voices.voices import Speech

CHUNK_S: Final = (0.15, 0.35)  # chosen: fewer and longer pieces than Cartesia's
ERROR_OF_STATUS: Final[Mapping[int, str]] = {
    400: "invalid_parameters",
    401: "invalid_api_key",
    402: "quota_exceeded",
    403: "missing_permissions",
    404: "voice_not_found",
    429: "too_many_concurrent_requests",
    503: "system_busy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The settings that the socket's URL fixes for all its contexts."""

    encoding: str
    rate_hz: int
    language: str
    auto: bool
    inactivity_s: float


class Outlet(Protocol):
    """The interface of a channel's socket."""

    instance: Instance
    request: web.Request
    format: Format

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """Send a message, or text unchanged."""
        ...

    async def error(
        self, code: str, *, message: str | None = None, context_id: str | None, close: bool
    ) -> None:
        """Send an error, and close the socket on request."""
        ...

    async def close(self) -> None:
        """Close cleanly."""
        ...


class ElevenLabsChannel:
    """A context's messages on its socket."""

    def __init__(self, line: Outlet, name: str) -> None:
        self.closing = False
        self._line = line
        self._name = name
        self._torn = Torn()
        self._dice = random.Random(name)  # noqa: S311 - a simulation's dice, not a secret
        self._aligned: tuple[Speech, tuple[Character, ...]] | None = None

    def piece_end(self, speech: Speech, start: int) -> int:
        """End a piece so that at least one character begins in it and in the rest."""
        end = start + round(self._dice.uniform(*CHUNK_S) * speech.rate_hz)
        begins = [speech.index(char.start_s) for char in self._characters(speech)]
        end = max(end, 1 + next((at for at in begins if at >= start), len(speech.samples)))
        return end if begins and begins[-1] >= end else len(speech.samples)

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send audio with the characters that begin in it."""
        mistake = fault.what if isinstance(fault, faults.Mistaken) else ""
        audio = self._torn.pass_on(
            encode(piece.samples, self._line.format.encoding), tear=mistake == "odd_pcm"
        )
        found = () if piece.speech is None else of_piece(piece, self._characters(piece.speech))
        aligned = None if mistake == "null_alignment" or not found else _in_ms(found)
        message: dict[str, Any] = {
            "audio": base64.b64encode(audio).decode(),
            "isFinal": None,
            "alignment": aligned,
            "normalizedAlignment": aligned,
            "contextId": str(uuid.uuid4()) if mistake == "wrong_context" else self._name,
        }
        await self._line.send(_snake(message) if mistake == "snake_case" else message)

    async def final(self, fault: Fault | None) -> None:
        """Report that the context is complete."""
        message = {"isFinal": True, "contextId": self._name}
        snake = fault == faults.Mistaken(what="snake_case")
        await self._line.send(_snake(message) if snake else message)

    async def garbage(self) -> None:
        """Send text that is not JSON."""
        await self._line.send('{"audio":"')

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Send an error frame; one with the context's id also closes the socket."""
        self.closing = with_id
        await self._line.error(
            code or ERROR_OF_STATUS.get(status, "internal_server_error"),
            context_id=self._name if with_id else None,
            close=with_id,
        )

    async def refuse(self, code: str, *, message: str | None = None) -> None:
        """Send an error frame and close the socket."""
        self.closing = True
        await self._line.error(code, message=message, context_id=self._name, close=True)

    async def quota(self, code: str | None) -> None:
        """Send the error of an account without credit, and close the socket."""
        await self.refuse(code or "quota_exceeded")

    async def close(self) -> None:
        """Close the socket cleanly, with code 1000."""
        self.closing = True
        await self._line.close()

    def reset(self) -> None:
        """Break the socket."""
        abort(self._line.request.transport)

    def _characters(self, speech: Speech) -> tuple[Character, ...]:
        if self._aligned is None or self._aligned[0] is not speech:
            self._aligned = (speech, characters(speech))
        return self._aligned[1]


def _in_ms(found: Sequence[Character]) -> dict[str, list[Any]]:
    starts = [round(char.start_s * 1000) for char in found]
    ends = [round(char.end_s * 1000) for char in found]
    return {
        "chars": [char.text for char in found],
        "charStartTimesMs": starts,
        "charDurationsMs": [end - start for start, end in zip(starts, ends, strict=True)],
    }


def _snake(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same message with keys as newer servers are reported to use."""
    return {
        _snake_key(key): _snake(value) if isinstance(value, Mapping) else value
        for key, value in message.items()
    }


def _snake_key(key: str) -> str:
    return "".join(_lowered(key))


def _lowered(key: str) -> Iterator[str]:
    for letter in key:
        yield f"_{letter.lower()}" if letter.isupper() else letter
