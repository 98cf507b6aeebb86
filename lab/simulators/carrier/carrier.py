"""Simulates an inbound carrier call: what happens between a telephone and an agent.

Reports the call to the agent, opens the media socket that the answer names, sends the caller's
sound piece by piece, plays the agent's sound at its own pace, and echoes marks when their audio was
played. The details of each carrier are in its manner.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, Self, TypeAlias

import aiohttp

from lab.simulators.carrier.line import Handset
from lab.simulators.carrier.manner import (
    CarrierManner,
    ClearOrder,
    Complaint,
    MarkOrder,
    PlayOrder,
    Said,
    TwilioManner,
)
from lab.simulators.carrier.stream import MediaStream
from lab.simulators.carrier.webhook import (
    AgentServer,
    NotConnectedError,
    PhoneCall,
    Twiml,
    web_session,
)

RATE_HZ: Final = 8000
ACTION_S: Final = 0.1  # half way round the earth and back

HandOn: TypeAlias = Callable[
    [aiohttp.ClientSession, PhoneCall], Awaitable[tuple[str | None, dict[str, str]]]
]


class Carrier(Handset):
    """One call in progress: `async with Carrier(url, token) as call`.

    Attributes:
        phone: Caller and callee.
        twiml: The last webhook's answer.
        close_code: Of the last socket, when the agent closed it.
        lost_at: When a stream ended before its call, in seconds of the call.
        complaints: Twilio's debugger messages about the agent.
        echoed: The names of the marks that were echoed.
        told: The carrier's own announcements between two streams.
        action_s: The round trip to the `action`.
        frozen: The carrier's side stays silent with an open socket.
    """

    close_code: int | None = None
    frozen = False
    _session: aiohttp.ClientSession
    _stream: MediaStream

    def __init__(
        self,
        base_url: str,
        auth_token: str,
        *,
        phone: PhoneCall | None = None,
        public_url: str | None = None,
        manner: CarrierManner | None = None,
    ) -> None:
        """Prepare a call.

        Args:
            base_url: The real address of the agent's server, as `http://127.0.0.1:8080`.
            auth_token: Signs the webhook.
            phone: Caller and callee; made up by default.
            public_url: The server's configured address, if different.
            manner: The carrier's; Twilio's by default.
        """
        self.manner = manner or TwilioManner()
        super().__init__(self.manner.code, tick_s=self.manner.tick_s)
        self.phone = phone or PhoneCall()
        self.twiml = Twiml(stream_url=None, parameters={}, said="")
        self.complaints: list[str] = []
        self.echoed: list[str] = []
        self.lost_at: list[float] = []
        self.told: list[str] = []
        self.action_s = ACTION_S
        self._hand_on: HandOn | None = None
        self._server = AgentServer(
            base_url=base_url.rstrip("/"),
            public_url=(public_url or base_url).rstrip("/"),
            auth_token=auth_token,
        )
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Ring, and return when the media flows."""
        try:
            self._session = await self._stack.enter_async_context(web_session())
            self.twiml = await self.manner.ring(self._session, self.phone, self._server)
            await self._open()
            group = await self._stack.enter_async_context(asyncio.TaskGroup())
        except BaseException:
            await self._stack.aclose()
            raise
        self._tasks = [group.create_task(self._talk()), group.create_task(self._listen())]
        return self

    async def __aexit__(self, *raised: Any) -> None:
        """Hang up unless the call is over."""
        await self.hang_up()
        for task in self._tasks:
            task.cancel()
        await self._stack.__aexit__(*raised)

    async def press(self, digit: str) -> None:
        """Press a key."""
        await self._send(self.manner.key(digit))

    async def send_raw(self, data: str | bytes) -> None:
        """Send a message that no carrier would send."""
        if isinstance(data, str):
            await self._stream.socket.send_str(data)
        else:
            await self._stream.socket.send_bytes(data)

    async def hang_up(self, *, by: str = "caller") -> None:
        """End the call as a carrier does: `stop`, then close the socket; harmless afterwards."""
        if self.ended.is_set():
            return
        self._end(by)
        if not self._tasks:
            return  # it has no stream yet
        if self.manner.says_stop:
            await self._send(self.manner.stop(self.phone))
        await self._stream.socket.close()

    async def redirect(self, hand_on: HandOn) -> None:
        """Leave the stream, as ordered by a redirect, and ring a person.

        Args:
            hand_on: Rings; returns the address to ask afterwards, with the result.
        """
        self._hand_on = hand_on
        await self._send(self.manner.stop(self.phone))
        await self._stream.socket.close()

    def vanish(self) -> None:
        """End the call like a cut cable: no `stop`, no close, only silence."""
        self._end("caller")
        self._stream.cut()

    async def break_off(self, code: int | None = None) -> None:
        """Lose the media socket, not the call: close it with a code, or reset it (1006)."""
        if code is None:
            self._stream.reset()
        else:
            await self._stream.socket.close(code=code)

    async def _open(self) -> None:
        url = self._server.real(self.twiml.stream_url or "")
        socket = await self._session.ws_connect(url, max_msg_size=0, headers=self.twiml.headers)
        self.started_at = self.started_at or asyncio.get_running_loop().time()
        self._stream = MediaStream(socket, self.manner, self.phone)
        await self._stream.begin(self.twiml)

    async def _open_again(self) -> bool:
        """Follow the `action` of a call without a stream; return False if the call is over."""
        if self._hand_on is not None:
            hand_on, self._hand_on = self._hand_on, None
            action, told = await hand_on(self._session, self.phone)
            self.twiml = replace(self.twiml, action=action, told=told)
        if self.twiml.action is None:
            return False
        self.lost_at.append(self.now_s)
        await asyncio.sleep(self.action_s)
        try:
            await self._follow(self.twiml.action)
            if self.twiml.stream_url is None:
                return False
            self.phone = replace(self.phone, stream_sid="MZ" + secrets.token_hex(16))
            await self._open()
        except (NotConnectedError, aiohttp.ClientError, TimeoutError):
            return False  # the caller hears an announcement of an application error
        return True

    async def _follow(self, url: str | None) -> None:
        """Ask for instructions, and again as often as the answer says so."""
        while url is not None:
            asked = replace(self.twiml, action=url)
            self.twiml = await self.manner.after(self._session, self.phone, self._server, asked)
            url = None if self.twiml.stream_url else self.twiml.redirect
            if self.twiml.said:
                self.told.append(self.twiml.said)
            if url is not None:
                await asyncio.sleep(self.twiml.pause_s)

    async def _send(self, message: Said) -> None:
        if not self.frozen:
            await self._stream.send(message)

    async def _talk(self) -> None:
        ticks = 0
        while not self.ended.is_set():
            ticks += 1
            await self._send(self._stream.sound(self._next_sound(ticks)))
            for name in self.ear.due(self.now_s):
                await self._echo(name)
            # From the start, not from now: late ticks are caught up, so the pace cannot drift.
            await asyncio.sleep(max(0.0, ticks * self.manner.tick_s - self.now_s))

    async def _echo(self, name: str) -> None:
        self.echoed.append(name)
        await self._send(self.manner.echo(name))

    async def _listen(self) -> None:
        while not self.ended.is_set():
            async for message in self._stream.messages():
                await self._obey(message)
            if self.ended.is_set():
                return
            self.close_code = self._stream.socket.close_code
            self.ear.clear(self.now_s)  # a stream's queue ends with it
            if not await self._open_again():
                self._end("agent")

    async def _obey(self, message: Said | None) -> None:
        if message is None:
            self.complaints.append("31950: binary message")
            return
        match self.manner.order(message, self.phone):
            case PlayOrder(payload):
                self.ear.hear(payload, self.now_s)
            case MarkOrder(name):
                self.ear.mark(name)
            case ClearOrder():
                for name in self.ear.clear(self.now_s):
                    await self._echo(name)
            case Complaint(complaint):
                self.complaints.append(complaint)
