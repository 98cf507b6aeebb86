"""A voice's websocket with several contexts: what Cartesia and ElevenLabs have in common."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from aiohttp import WSCloseCode, web

from lab.simulators.admission import Admission
from lab.simulators.instance import ADMISSION, Instance
from lab.simulators.server import abort
from lab.simulators.voices.pieces import SpeechChannel
from lab.simulators.voices.speaking import LabUtterance
from lab.simulators.voices.voices import SimulatedVoice

INBOX: Final = 1000  # messages in a context's queue; further ones are refused

Input = TypeVar("Input")
Context = TypeVar("Context", bound="SocketContext[Any]")


class SocketContext(ABC, Generic[Input]):
    """One context on a socket: takes texts, sends audio and times, in order."""

    def __init__(
        self, instance: Instance, name: str, *, admission: Admission, channel: SpeechChannel
    ) -> None:
        self.name = name
        self._instance = instance
        self._admission = admission
        self._utterance = LabUtterance(instance, admission, channel)
        self._inbox: asyncio.Queue[Input] = asyncio.Queue(maxsize=INBOX)
        self._text = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Start speaking, as a task of the socket."""
        self._task = tasks.create_task(self._run(), name=f"context {self.name}")
        return self._task

    def stop(self) -> None:
        """End at once, because the socket is closed; but let a context finish closing it itself."""
        if self._task is not None and not self.is_closing:
            self._task.cancel()

    @property
    @abstractmethod
    def is_closing(self) -> bool:
        """Whether the context itself is closing the socket."""

    @abstractmethod
    async def _run(self) -> None: ...

    def _queue_input(self, given: Input, text: str, language: str) -> None:
        """Queue a message, and record its text; the queue must not be full."""
        self._inbox.put_nowait(given)
        request = self._admission.request
        request.details["language"] = language
        request.details["text"] = request.details.get("text", "") + text
        request.mark("text", self._instance.gate.now_s(), words=len(text.split()))


class VoiceSocket(ABC, Generic[Context]):
    """One websocket of one client."""

    def __init__(self, instance: Instance, voice: SimulatedVoice, request: web.Request) -> None:
        self.instance = instance
        self.voice = voice
        self.ws = web.WebSocketResponse(timeout=1.0, max_msg_size=2**20)
        self._request = request
        self._upgrade: Admission = request[ADMISSION]
        self._contexts: dict[str, Context] = {}

    async def serve(self) -> web.WebSocketResponse:
        """Serve until one side closes; then end its contexts, and wait for them."""
        await self.ws.prepare(self._request)
        async with asyncio.TaskGroup() as tasks:
            await self._read(tasks)
            for context in tuple(self._contexts.values()):
                context.stop()
        return self.ws

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """Send a message, or text unchanged."""
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def close(self) -> None:
        """Close from our side, cleanly."""
        await self.ws.close(code=WSCloseCode.OK)

    def reset(self) -> None:
        """Break the connection."""
        abort(self._request.transport)

    @abstractmethod
    async def _read(self, tasks: asyncio.TaskGroup) -> None: ...

    def _admit_context(self, name: str) -> Admission:
        """Record a context as a separate request.

        It takes over the tickets of the upgrade, so that a fault for the next request hits the
        first context.
        """
        admission = self.instance.gate.let_in_within(self._request, name=name)
        admission.tickets |= self._upgrade.tickets
        self._upgrade.tickets = frozenset()
        return admission
