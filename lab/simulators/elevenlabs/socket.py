"""ElevenLabs' multi-context websocket: up to five contexts side by side.

Source: ElevenLabs API reference (multi-context websocket), error texts as clients reported them.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from lab.simulators.admission import Admission
from lab.simulators.elevenlabs.context import (
    ElevenLabsAccount,
    ElevenLabsContext,
    ElevenLabsInput,
    Format,
)
from lab.simulators.instance import ADMISSION, Instance
from lab.simulators.voices.voices import SimulatedVoice

CONTEXTS: Final = 5  # open contexts on one socket
REASON_BYTES: Final = 123  # the size of a close frame's reason (RFC 6455, 5.5)
SERVER_FAULTS: Final = ("internal_server_error",)  # closed with 1011; everything else with 1008

MESSAGES: Final[Mapping[str, str]] = {
    "max_active_conversations": (
        "Maximum simultaneous contexts per WebSocket connection exceeded (5). "
        "Please close existing contexts before creating new ones."
    ),
    "input_timeout_exceeded": (
        "Have not received a new text input within the timeout of 180.0 seconds. "
        "Streaming input terminated. Please make sure to send new text input in time."
    ),
    "quota_exceeded": "This request exceeds your quota.",
    "invalid_api_key": "Invalid API key",
    "voice_not_found": "A voice with this voice_id was not found.",
    "too_many_concurrent_requests": "Too many concurrent requests.",
    "system_busy": "The system is experiencing heavy traffic, please try again.",
    "voice_settings_changed": "Voice settings cannot be changed after the first message.",
}


class ElevenLabsSocket:
    """One websocket of one client."""

    def __init__(
        self,
        instance: Instance,
        voice: SimulatedVoice,
        *,
        request: web.Request,
        plan: ElevenLabsAccount,
        fixed: Format,
    ) -> None:
        self.instance = instance
        self.voice = voice
        self.request = request
        self.plan = plan
        self.format = fixed
        self.ws = web.WebSocketResponse(timeout=1.0, max_msg_size=2**20)
        self._upgrade: Admission = request[ADMISSION]
        self._contexts: dict[str, ElevenLabsContext] = {}
        self._draining = False

    async def serve(self) -> web.WebSocketResponse:
        """Serve until one side closes."""
        await self.ws.prepare(self.request)
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

    async def error(
        self, code: str, *, message: str | None = None, context_id: str | None, close: bool
    ) -> None:
        """Send an error frame, and close on request, with its first words as the reason."""
        number = (
            WSCloseCode.INTERNAL_ERROR if code in SERVER_FAULTS else WSCloseCode.POLICY_VIOLATION
        )
        text = message or MESSAGES.get(code, f"The request failed: {code}.")
        frame = {"message": text, "error": code, "code": int(number)}
        await self.send(frame | ({"contextId": context_id} if context_id else {}))
        if close:
            await self.ws.close(code=number, message=text.encode()[:REASON_BYTES])

    async def forget(self, context: ElevenLabsContext) -> None:
        """Drop a context that is over; the last one after close_socket closes the socket."""
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]
        if self._draining and not self._contexts:
            await self.close()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                message = await self.ws.receive(timeout=self.plan.idle_s)
            except TimeoutError:
                await self.error("input_timeout_exceeded", context_id=None, close=True)
                return
            if message.type is not WSMsgType.TEXT:
                return
            try:
                body = json.loads(message.data)
            except json.JSONDecodeError:
                body = None
            await self._take(body, tasks)

    async def _take(self, body: Any, tasks: asyncio.TaskGroup) -> None:
        if not isinstance(body, dict):
            self._upgrade.mark_malformed("not a JSON object")
            await self.error("invalid_message", context_id=None, close=True)
        elif body.get("close_socket"):
            await self._drain()
        elif body.get("context_id") is not None or (body.get("text") or "").strip():
            await self._speak(body, tasks)

    async def _speak(self, body: Mapping[str, Any], tasks: asyncio.TaskGroup) -> None:
        name = str(body.get("context_id") or "default")
        context = self._contexts.get(name)
        context = None if context is None or context.over else context
        given = ElevenLabsInput(
            text=str(body.get("text") or ""),
            flush=bool(body.get("flush")),
            close=bool(body.get("close_context")),
        )
        settings = body.get("voice_settings")
        if context is None and "text" not in body:
            return  # flushed or closed after its end
        if context is None:
            context = await self._open(name, settings, tasks)
        elif settings is not None and settings != context.settings:
            self._upgrade.mark_malformed("voice_settings changed inside a context")
            await self.error("voice_settings_changed", context_id=name, close=True)
            return
        if context is not None and not context.put(given):
            await self.error("too_many_messages", context_id=name, close=True)

    async def _open(
        self, name: str, settings: Any, tasks: asyncio.TaskGroup
    ) -> ElevenLabsContext | None:
        if len(self._contexts) >= CONTEXTS:
            await self.error("max_active_conversations", context_id=None, close=True)
            return None
        admission = self.instance.gate.let_in_within(self.request, name=name)
        # A fault for the next request that acts on speech, not on the upgrade, acts here.
        admission.tickets |= self._upgrade.tickets
        self._upgrade.tickets = frozenset()
        context = ElevenLabsContext(self, name, admission=admission, settings=settings)
        self._contexts[name] = context
        context.start(tasks)
        return context

    async def _drain(self) -> None:
        """Finish every context, then close."""
        self._draining = True
        for context in self._contexts.values():
            context.put(ElevenLabsInput(flush=True, close=True))
        if not self._contexts:
            await self.close()
