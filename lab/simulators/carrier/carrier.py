"""Simulates an inbound carrier call: what happens between a telephone and an agent.

Reports the call to the agent, opens the media socket that the answer names, sends the caller's
sound piece by piece, plays the agent's sound at its own pace, and echoes marks when their audio was
played. The details of each carrier are in its manner.
"""

import asyncio
import json
import secrets
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeAlias

import aiohttp
import numpy as np

from lab.simulators.carrier.manner import (
    CarrierManner,
    ClearOrder,
    Complaint,
    MarkOrder,
    PlayOrder,
    TwilioManner,
)
from lab.simulators.carrier.sound_code import MULAW_CODE, SoundCode
from lab.simulators.carrier.webhook import (
    AgentServer,
    NotConnectedError,
    PhoneCall,
    Twiml,
    web_session,
)
from lab.simulators.mulaw import Pcm

RATE_HZ: Final = 8000
AUDIBLE: Final = 200  # of 32768, about -44 dBFS: line noise is below it
PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it


@dataclass(slots=True)
class Burst:
    """A stretch of audible sound, in samples from the start of the call."""

    start: int
    end: int


class CarrierEar:
    """Plays what arrives and remembers when every sample was heard.

    Audio that arrives while the queue is empty is played at once, otherwise after the queue. All
    times are seconds from the start of the call.
    """

    def __init__(self, code: SoundCode = MULAW_CODE) -> None:
        """Play sound in a carrier's code."""
        self.code = code
        self.bursts: list[Burst] = []
        self._pieces: deque[tuple[int, bytes]] = deque()  # first sample, code
        self._dry_at = 0  # the sample when the queue will be empty
        self._marks: deque[tuple[int, str]] = deque()

    def hear(self, payload: bytes, at_s: float) -> None:
        """Queue audio that arrived at `at_s`."""
        start = max(self._dry_at, round(at_s * self.code.rate_hz))
        self._pieces.append((start, payload))
        samples = self.code.decode(payload)
        self._dry_at = start + samples.size
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
        if loud.size:
            self._burst(start + int(loud[0]), start + int(loud[-1]) + 1)

    def _burst(self, start: int, end: int) -> None:
        if self.bursts and start - self.bursts[-1].end < PAUSE_S * self.code.rate_hz:
            self.bursts[-1].end = end
        else:
            self.bursts.append(Burst(start, end))

    def mark(self, name: str) -> None:
        """Set a mark to echo when everything queued now was played."""
        self._marks.append((self._dry_at, name))

    def due(self, at_s: float) -> list[str]:
        """Return the marks reached since the last call."""
        now = round(at_s * self.code.rate_hz)
        names: list[str] = []
        while self._marks and self._marks[0][0] <= now:
            names.append(self._marks.popleft()[1])
        return names

    def clear(self, at_s: float) -> list[str]:
        """Drop what was not played by `at_s`; return the pending marks."""
        now = round(at_s * self.code.rate_hz)
        while self._pieces and self._pieces[-1][0] >= now:
            self._pieces.pop()
        if self._pieces:
            start, payload = self._pieces.pop()
            self._pieces.append((start, payload[: (now - start) * self.code.sample_bytes]))
        self._dry_at = min(self._dry_at, now)
        while self.bursts and self.bursts[-1].start >= now:
            self.bursts.pop()
        if self.bursts:
            self.bursts[-1].end = min(self.bursts[-1].end, now)
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def between(self, start: int, end: int) -> Pcm:
        """Return what is heard from one sample to another, with silence."""
        heard = np.zeros(end - start, dtype=np.int16)
        for first, payload in reversed(self._pieces):
            piece = self.code.decode(payload)
            if first + len(piece) <= start:
                break
            if first < end:
                piece = piece[max(0, start - first) : end - first]
                heard[max(0, first - start) :][: len(piece)] = piece
        return heard

    def recording(self, until_s: float) -> Pcm:
        """Return everything heard from the start of the call until `until_s`, with silence."""
        heard = np.zeros(max(0, round(until_s * self.code.rate_hz)), dtype=np.int16)
        for start, payload in self._pieces:
            piece = self.code.decode(payload)[: max(0, len(heard) - start)]
            heard[start : start + len(piece)] = piece
        return heard


class CarrierMouth:
    """Pending speech.

    Attributes:
        silent: Set while no speech is pending.
    """

    def __init__(self, code: SoundCode = MULAW_CODE, *, tick_s: float = 0.02) -> None:
        """Send in a carrier's code."""
        self.silent = asyncio.Event()
        self.silent.set()
        self._code = code
        self._piece = round(tick_s * code.rate_hz)  # samples
        self._speech = bytearray()

    def begin(self, pcm: Pcm) -> None:
        """Queue sound of the code's rate."""
        self._speech += self._code.encode(pcm)
        self.silent.clear()

    def next_payload(self, echo: Pcm | None = None) -> bytes:
        """Return the next tick's payload for a media message, with an echo in it."""
        payload = self._next_speech()
        if echo is None or not echo.any():
            return payload
        mixed = self._code.decode(payload).astype(np.int32) + echo
        return self._code.encode(mixed.clip(-32768, 32767).astype(np.int16))

    def _next_speech(self) -> bytes:
        size = self._piece * self._code.sample_bytes
        if not self._speech:
            self.silent.set()
            return self._code.silence * self._piece
        piece = bytes(self._speech[:size])
        del self._speech[:size]
        missing = (size - len(piece)) // self._code.sample_bytes
        return piece + self._code.silence * missing


TICK_S: Final = 0.02
ACTION_S: Final = 0.1  # half way round the earth and back
AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEcho:
    """The agent's sound in the caller's: a loudspeaker, or a bad hybrid."""

    delay_s: float = 0.3  # over a mobile network
    level_db: float = -24.0


HandOn: TypeAlias = Callable[
    [aiohttp.ClientSession, PhoneCall], Awaitable[tuple[str | None, dict[str, str]]]
]


class Carrier:
    """One call in progress: `async with Carrier(url, token) as call`.

    Attributes:
        phone: Caller and callee.
        twiml: The last webhook's answer.
        ended: Set when the call is over.
        ended_by: `agent` or `caller`, once it is over.
        ended_s: When that was, in seconds of the call.
        close_code: Of the last socket, when the agent closed it.
        lost_at: When a stream ended before its call, in seconds of the call.
        complaints: Twilio's debugger messages about the agent.
        echoed: The names of the marks that were echoed.
        told: The carrier's own announcements between two streams.
        action_s: The round trip to the `action`.
        echo: What the line returns of the agent's sound; `None` for nothing.
        frozen: The carrier's side stays silent with an open socket.
    """

    ended_by = ""
    ended_s: float | None = None
    close_code: int | None = None
    frozen = False
    echo: LineEcho | None = None
    _session: aiohttp.ClientSession
    _socket: aiohttp.ClientWebSocketResponse

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
        self.phone = phone or PhoneCall()
        self.twiml = Twiml(stream_url=None, parameters={}, said="")
        self.ended = asyncio.Event()
        self.complaints: list[str] = []
        self.echoed: list[str] = []
        self.manner = manner or TwilioManner()
        self.ear = CarrierEar(self.manner.code)
        self.started_at = 0.0
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
        self._mouth = CarrierMouth(self.manner.code, tick_s=self.manner.tick_s)
        self._sequence = 1  # the number 1 is the start's
        self._chunk = 0
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

    @property
    def now_s(self) -> float:
        """Seconds since the call was connected."""
        return asyncio.get_running_loop().time() - self.started_at

    @property
    def rate_hz(self) -> int:
        """The rate of all sound."""
        return self.manner.code.rate_hz

    @property
    def heard_at(self) -> list[float]:
        """The starts of the agent's speech, in seconds from the start of the call."""
        return [burst.start / self.rate_hz for burst in self.ear.bursts]

    def heard(self) -> Pcm:
        """Return everything the caller has heard, at `rate_hz`, from the start of the call."""
        return self.ear.recording(self.now_s if self.ended_s is None else self.ended_s)

    def begin(self, pcm: Pcm) -> None:
        """Queue sound of `rate_hz`; it starts at once if nothing is being said."""
        self._mouth.begin(pcm)

    async def say(self, pcm: Pcm) -> float:
        """Say sound of `rate_hz`; return when its last sample has left, in seconds of the call."""
        self.begin(pcm)
        await self._mouth.silent.wait()
        return self.now_s

    async def listen(self, *, quiet_s: float = 0.8, within_s: float = 10.0) -> Pcm:
        """Wait until the agent has spoken and been quiet for `quiet_s`; return what was heard.

        Raises:
            TimeoutError: This did not happen within `within_s`.
            ConnectionError: The call ended first.
        """
        since = round(self.now_s * self.rate_hz)
        async with asyncio.timeout(within_s):
            while True:
                if self._spoke(since, quiet_s):
                    return self.heard()[since:]
                if self.ended.is_set():
                    raise ConnectionError(f"the call was ended by the {self.ended_by}")
                await asyncio.sleep(TICK_S)

    def _spoke(self, since: int, quiet_s: float) -> bool:
        if not self.ear.bursts or self.ear.bursts[-1].end <= since:
            return False
        return self.now_s - self.ear.bursts[-1].end / self.rate_hz >= quiet_s

    async def press(self, digit: str) -> None:
        """Press a key."""
        await self._send(self.manner.key(digit))

    async def send_raw(self, data: str | bytes) -> None:
        """Send a message that no carrier would send."""
        if isinstance(data, str):
            await self._socket.send_str(data)
        else:
            await self._socket.send_bytes(data)

    async def hang_up(self, *, by: str = "caller") -> None:
        """End the call as a carrier does: `stop`, then close the socket; harmless afterwards."""
        if self.ended.is_set():
            return
        self._over(by)
        if not self._tasks:
            return  # it has no stream yet
        if self.manner.says_stop:
            await self._send(self.manner.stop(self.phone))
        await self._socket.close()

    async def redirect(self, hand_on: HandOn) -> None:
        """Leave the stream, as ordered by a redirect, and ring a person.

        Args:
            hand_on: Rings; returns the address to ask afterwards, with the result.
        """
        self._hand_on = hand_on
        stop = {"accountSid": self.phone.account_sid, "callSid": self.phone.call_sid}
        await self._send({"event": "stop", "stop": stop})
        await self._socket.close()

    def vanish(self) -> None:
        """End the call like a cut cable: no `stop`, no close, only silence."""
        self._over("caller")
        if (transport := self._socket.get_extra_info("socket")) is not None:
            transport.shutdown(2)

    async def break_off(self, code: int | None = None) -> None:
        """Lose the media socket, not the call: close it with a code, or reset it (1006)."""
        if code is not None:
            await self._socket.close(code=code)
            return
        connection = self._socket._response.connection  # noqa: SLF001 - aiohttp shows it nowhere
        if connection is not None and connection.transport is not None:
            raw = connection.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            connection.transport.abort()

    def _over(self, by: str) -> None:
        if not self.ended.is_set():
            self.ended_by, self.ended_s = by, self.now_s
            self.ear.clear(self.now_s)  # queued sound is never heard
            self.ended.set()
            self._mouth.silent.set()

    async def _open(self) -> None:
        url = self._server.real(self.twiml.stream_url or "")
        self._socket = await self._session.ws_connect(
            url, max_msg_size=0, headers=self.twiml.headers
        )
        self.started_at = self.started_at or asyncio.get_running_loop().time()
        self._sequence = 1  # the number 1 is the start's
        self._chunk = 0  # each stream numbers its pieces from 1
        for message in self.manner.opening(self.phone, self.twiml):
            await self._socket.send_json(message)

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

    async def _send(self, message: dict[str, Any]) -> None:
        if self.frozen:
            return
        self._sequence += 1
        numbered = self.manner.numbered(message, self.phone, self._sequence)
        try:
            await self._socket.send_json(numbered)
        except (ConnectionError, RuntimeError):
            return  # the reader gets the reason

    async def _talk(self) -> None:
        ticks = 0
        while not self.ended.is_set():
            ticks += 1
            self._chunk += 1
            payload = self._mouth.next_payload(self._returned(ticks))
            await self._send(self.manner.media(self._chunk, payload))
            for name in self.ear.due(self.now_s):
                await self._echo(name)
            # From the start, not from now: late ticks are caught up, so the pace cannot drift.
            await asyncio.sleep(max(0.0, ticks * self.manner.tick_s - self.now_s))

    def _returned(self, ticks: int) -> Pcm | None:
        """Return the echo in a tick's sound."""
        if self.echo is None:
            return None
        size = round(self.manner.tick_s * self.rate_hz)
        start = ticks * size - round(self.echo.delay_s * self.rate_hz)
        heard = self.ear.between(start, start + size)
        return (heard * 10 ** (self.echo.level_db / 20)).astype(np.int16)

    async def _echo(self, name: str) -> None:
        self.echoed.append(name)
        await self._send(self.manner.echo(name))

    async def _listen(self) -> None:
        while not self.ended.is_set():
            await self._read()
            if self.ended.is_set():
                return
            self.close_code = self._socket.close_code
            self.ear.clear(self.now_s)  # a stream's queue ends with it
            if not await self._open_again():
                self._over("agent")

    async def _read(self) -> None:
        with suppress(ConnectionError):
            async for message in self._socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self.complaints.append("31950: binary message")
                    continue
                await self._obey(message.data)

    async def _obey(self, text: str) -> None:
        match self.manner.order(_object(text), self.phone):
            case PlayOrder(payload):
                self.ear.hear(payload, self.now_s)
            case MarkOrder(name):
                self.ear.mark(name)
            case ClearOrder():
                for name in self.ear.clear(self.now_s):
                    await self._echo(name)
            case Complaint(complaint):
                self.complaints.append(complaint)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
