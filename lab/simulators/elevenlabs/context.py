"""One ElevenLabs context: texts in, audio with character times out, in order.

Source: ElevenLabs API reference (multi-context websocket), elevenlabs-python's wire types.
"""

import asyncio
import base64
import itertools
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.server import abort
from lab.simulators.voices.pieces import AudioPiece, Character, Torn, characters, encode, of_piece
from lab.simulators.voices.speaking import LabUtterance, UtteranceOver, spoken_text
from lab.simulators.voices.voices import SimulatedVoice, Speech, UnknownLanguageError, speak

# An ElevenLabs context's messages: audio with character times, errors, the end.
#
# Source: ElevenLabs API reference (multi-context websocket), elevenlabs-python's wire types.

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


QUEUED_S: Final = 0.05  # the wait of requests above the plan's limit before they fail, about


@dataclass(slots=True, kw_only=True)
class ElevenLabsAccount:
    """An account's limits, and its use.

    Attributes:
        concurrent: Generations at once (30 for flash models on the plan Scale).
        character_limit: Characters in a month (Scale: 2 million credits).
        idle_s: Seconds without any message after which the server closes a socket.
    """

    concurrent: int = 30
    character_limit: int = 2_000_000
    idle_s: float = 180.0
    generating: int = 0
    character_count: int = 0

    async def begin(self, characters: int) -> str | None:
        """Start a generation; return the error's code if the plan does not allow it now."""
        if self.character_count + characters > self.character_limit:
            return "quota_exceeded"
        if self.generating >= self.concurrent:
            await asyncio.sleep(QUEUED_S)
        if self.generating >= self.concurrent:
            return "too_many_concurrent_requests"
        self.generating += 1
        self.character_count += characters
        return None

    def end(self) -> None:
        """Record the end of a generation."""
        self.generating -= 1


CHUNK_SCHEDULE: Final = (120, 160, 250, 290)  # characters before audio, without auto_mode
INBOX: Final = 1000  # messages in a context's queue; further ones are refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevenLabsInput:
    """A message to a context."""

    text: str = ""
    flush: bool = False
    close: bool = False


class ElevenLabsOutlet(Outlet, Protocol):
    """The interface of a context's socket."""

    voice: SimulatedVoice
    plan: ElevenLabsAccount

    async def forget(self, context: "ElevenLabsContext") -> None:
        """Drop a context that is over."""
        ...


class ElevenLabsContext:
    """One piece of speech on a socket."""

    def __init__(
        self, line: ElevenLabsOutlet, name: str, *, admission: Admission, settings: Any
    ) -> None:
        self.name = name
        self.settings = settings
        self._line = line
        self._admission = admission
        self.over = False  # the client may open another context with this id
        self._closed = False
        self._channel = ElevenLabsChannel(line, name)
        self._utterance = LabUtterance(line.instance, admission, self._channel)
        self._inbox: asyncio.Queue[ElevenLabsInput] = asyncio.Queue(maxsize=INBOX)
        self._schedule = itertools.chain(CHUNK_SCHEDULE, itertools.repeat(CHUNK_SCHEDULE[-1]))
        self._wanted = next(self._schedule)
        self._text = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start speaking, as a task of the socket."""
        self._task = tasks.create_task(self._run(), name=f"context {self.name}")

    def stop(self) -> None:
        """End at once: the socket is gone."""
        if self._task is not None and not self._channel.closing:
            self._task.cancel()

    def put(self, given: ElevenLabsInput) -> bool:
        """Queue a message; return False if there are too many."""
        if self._inbox.full():
            return False
        if self._closed:  # messages after close_context are ignored
            return True
        self._closed = given.close
        self._inbox.put_nowait(given)
        request = self._admission.request
        request.details["language"] = self._line.format.language
        request.details["text"] = request.details.get("text", "") + given.text
        request.mark("text", self._line.instance.gate.now_s(), words=len(given.text.split()))
        return True

    async def _run(self) -> None:
        last: Speech | None = None
        try:
            last = await self._speak()
            self._admission.close("done")
        except (UtteranceOver, ConnectionError):
            self._admission.close("connection gone")
        except UnknownLanguageError as unknown:
            self._admission.mark_malformed(str(unknown))
            await self._channel.refuse("invalid_parameters", message=str(unknown))
        finally:
            self._admission.close("connection gone")
        try:
            await self._late(last)
            await self._line.forget(self)
        except ConnectionError:
            return

    async def _speak(self) -> Speech | None:
        closed, spoken = False, None
        while not closed:
            fresh = self._inbox.empty()
            text, closed = await self._portion()
            if text.strip():
                spoken = await self._say(text, fresh=fresh or not self._utterance.begun)
        fault = self._admission.fault_now()
        self.over = True
        if fault != faults.Mistaken(what="no_final"):
            await self._channel.final(fault)
        return spoken

    async def _late(self, last: Speech | None) -> None:
        fault = self._admission.fault_now()
        if last is not None and isinstance(fault, faults.LateAfterCancel):
            await self._utterance.repeat(last, for_s=fault.delay_s)

    async def _say(self, text: str, *, fresh: bool) -> Speech:
        refused = await self._line.plan.begin(len(text))
        if refused is not None:
            await self._channel.refuse(refused)
            raise UtteranceOver
        try:
            speech = await speak(
                spoken_text(text, self._admission.fault_now()),
                voice=self._line.voice.faster(float((self.settings or {}).get("speed") or 1.0)),
                rate_hz=self._line.format.rate_hz,
                language=self._line.format.language,
            )
            await self._utterance.say(speech, fresh=fresh)
        finally:
            self._line.plan.end()
        return speech

    async def _portion(self) -> tuple[str, bool]:
        """Return the next text and whether it is the last; 20 s without a message also close."""
        while True:
            try:
                async with asyncio.timeout(self._line.format.inactivity_s):
                    given = await self._inbox.get()
            except TimeoutError:
                return "", True
            self._text += given.text
            if given.flush or self._enough():
                text, self._text = self._text, ""
                return self._joined(text), given.close
            if given.close:  # unflushed text is dropped
                return "", True

    def _enough(self) -> bool:
        if self._line.format.auto:
            return bool(self._text.strip())
        if len(self._text) < self._wanted:
            return False
        self._wanted = next(self._schedule)
        return True

    def _joined(self, text: str) -> str:
        """Return a flash model's text after the first, with a leading blank if it has none."""
        return text if text[:1].isspace() or not self._utterance.begun else f" {text}"
