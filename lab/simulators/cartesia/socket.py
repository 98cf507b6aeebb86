"""Cartesia's websocket: contexts that queue text and stream audio, side by side on one socket.

Source: Cartesia API reference, version 2026-03-01 (websocket, contexts, flushing, concurrency).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from lab.simulators.admission import Admission
from lab.simulators.cartesia.context import CartesiaContext
from lab.simulators.cartesia.request import (
    STRUCTURED_SINCE,
    CartesiaBadRequest,
    Generation,
    parse,
    problem,
)
from lab.simulators.instance import ADMISSION, Instance
from lab.simulators.voices.voices import SimulatedVoice


@dataclass(slots=True, kw_only=True)
class CartesiaAccount:
    """The account's limits, and its current use.

    Attributes:
        contexts: Contexts at once (15 on the plan Scale); sockets: ten times as many.
        idle_s: Seconds without a message after which the server closes a socket.
        expiry_s: Seconds after its last audio when a context is forgotten.
    """

    contexts: int = 15
    idle_s: float = 300.0
    expiry_s: float = 1.0
    open_contexts: int = 0
    open_sockets: int = 0

    @property
    def sockets(self) -> int:
        """Sockets at once."""
        return 10 * self.contexts


class CartesiaSocket:
    """One websocket of one client."""

    def __init__(
        self,
        instance: Instance,
        voice: SimulatedVoice,
        *,
        request: web.Request,
        plan: CartesiaAccount,
        version: str,
    ) -> None:
        self.instance = instance
        self.voice = voice
        self.request = request
        self.plan = plan
        self.ws = web.WebSocketResponse(timeout=1.0, max_msg_size=2**20)
        self._structured = version >= STRUCTURED_SINCE
        self._upgrade: Admission = request[ADMISSION]
        self._contexts: dict[str, CartesiaContext] = {}
        self._open_contexts: set[CartesiaContext] = set()

    async def serve(self) -> web.WebSocketResponse:
        """Serve until one side closes."""
        await self.ws.prepare(self.request)
        self.plan.open_sockets += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._read(tasks)
                for context in tuple(self._contexts.values()):
                    context.stop()
        finally:
            self.plan.open_sockets -= 1
        return self.ws

    @property
    def expiry_s(self) -> float:
        """Seconds after its last audio when a context is forgotten."""
        return self.plan.expiry_s

    async def close(self) -> None:
        """Close from our side, cleanly."""
        await self.ws.close(code=WSCloseCode.OK)

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """Send an event, or text as it is."""
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def error(
        self,
        status: int,
        *,
        code: str | None = None,
        message: str | None = None,
        context_id: str | None = None,
    ) -> None:
        """Send an error in the shape of the client's version; the socket stays open."""
        event: dict[str, Any] = {"type": "error", "done": True, "status_code": status}
        words = problem(status, code=code, message=message, context_id=context_id or "")
        event |= words if self._structured else {"error": f"{words['title']}: {words['message']}"}
        if context_id is not None:
            event["context_id"] = context_id
        await self.send(event)

    def forget(self, context: CartesiaContext) -> None:
        """Drop a context that is over; its id may be used again."""
        if context in self._open_contexts:
            self._open_contexts.remove(context)
            self.plan.open_contexts -= 1
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                message = await self.ws.receive(timeout=self.plan.idle_s)
            except TimeoutError:
                await self.close()
                return
            if message.type is not WSMsgType.TEXT:
                return
            await self._take(message.data, tasks)

    async def _take(self, text: str, tasks: asyncio.TaskGroup) -> None:
        context_id = None
        try:
            body = json.loads(text)
            context_id = body.get("context_id") if isinstance(body, dict) else None
            await self._obey(body, tasks)
        except (CartesiaBadRequest, json.JSONDecodeError) as wrong:
            self._upgrade.mark_malformed(str(wrong))
            await self.error(400, message=str(wrong), context_id=context_id)

    async def _obey(self, body: Any, tasks: asyncio.TaskGroup) -> None:
        if isinstance(body, dict) and body.get("cancel"):
            if context := self._contexts.get(str(body.get("context_id"))):
                context.cancel()
            return
        asked = parse(body)
        if not asked.context_id:
            raise CartesiaBadRequest("context_id is required.")
        if asked.container != "raw":
            raise CartesiaBadRequest("output_format.container must be raw on the websocket.")
        context = self._contexts.get(asked.context_id)
        if context is None:
            context = await self._open(asked, tasks)
        if context is not None:
            context.put(asked)

    async def _open(self, asked: Generation, tasks: asyncio.TaskGroup) -> CartesiaContext | None:
        if self.plan.open_contexts >= self.plan.contexts:
            await self.error(429, context_id=asked.context_id)
            return None
        admission = self.instance.gate.let_in_within(self.request, name=asked.context_id)
        # A fault for the next request that acts on speech, not on the upgrade, acts here.
        admission.tickets |= self._upgrade.tickets
        self._upgrade.tickets = frozenset()
        context = CartesiaContext(self, asked, admission=admission)
        self._contexts[asked.context_id] = context
        self._open_contexts.add(context)
        self.plan.open_contexts += 1
        context.start(tasks)
        return context
