"""Cheap callers: their speech is prepared before a call, and what they heard is judged after it.

Each speaks Twilio's wire protocol with a real server. During a call only the length of the audio
that arrives is decoded, because a caller only has to know when the agent is silent again.
"""

import asyncio
import base64
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import aiohttp

from lab.callers import (
    RATE_HZ,
    AgentServer,
    CallInstructions,
    NotConnectedError,
    PhoneCall,
    answers,
    follow,
    ring,
    start_message,
)

TICK_S: Final = 0.02
PIECE: Final = 160  # bytes of mu-law: 20 ms
SILENT_BYTE: Final = b"\xff"
SILENCE: Final = base64.b64encode(SILENT_BYTE * PIECE).decode()
EVENT: Final = re.compile(r'"event"\s*:\s*"(\w+)"')
PAYLOAD: Final = re.compile(r'"payload"\s*:\s*"([^"]*)"')
NAME: Final = re.compile(r'"name"\s*:\s*"([^"]*)"')
CONNECTED_S: Final = 20.0  # the longest wait for the connection
AGAIN_S: Final = 60.0  # the longest wait for the next stream of a call
ACTION_S: Final = 0.1  # a round trip, before the `action` is asked
GREETED_S: Final = 20.0  # the longest wait for a greeting
QUIET_S: Final = 0.9  # silence that ends an answer which was long enough to be complete
LOST_S: Final = 5.0  # silence that ends any answer
NO_SOUND_S: Final = 12.0  # after this time without any sound a caller gives up
ANSWER_S: Final = 30.0  # the longest wait for the end of an answer
COMPLETE_SHARE: Final = 0.85  # of the expected length: after this much, an answer may be complete
POLL_S: Final = 0.05

Cue: TypeAlias = Callable[[int], Awaitable[None]]
"""Waits until the question with this index may be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Data that all callers of a run share.

    Attributes:
        url: Of the server.
        auth_token: Signs the webhook.
        greeting: The agent's first words.
        phrases: Possible questions as mu-law, by their text.
        sounds: The length of each word of the answers in seconds, by the word.
    """

    url: str
    auth_token: str
    greeting: str
    phrases: Mapping[str, bytes]
    sounds: Mapping[str, float]

    def length_s(self, text: str) -> float:
        """Return the length of a text's sound in seconds, without pauses."""
        return sum(self.sounds.get(word, 0.2) for word in text.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTurn:
    """A question, and the period in which its answer was expected, in seconds of the call."""

    question: str
    answer: str
    began_s: float
    stop_s: float
    end_s: float


@dataclass(slots=True, kw_only=True)
class HeldCall:
    """The recording of one call, judged later.

    Attributes:
        number: The caller's number.
        rang_at: When the caller rang, on the monotonic clock.
        connected_s: From the ring until media flowed; `None` if it never did.
        refused: Whether the server answered the ring without connecting the call.
        error: Why the call ended early, if it did.
        arrivals: For each message its time in seconds of the call, its kind (`media` or `clear`)
            and its payload.
        late_s: How late the caller sent its audio: the worst of each second.
        ended_s: The length of the call.
        lost_s: When streams ended before the call, in seconds of the call.
    """

    number: int
    rang_at: float
    connected_s: float | None = None
    refused: bool = False
    error: str = ""
    turns: list[HeldTurn] = field(default_factory=list[HeldTurn])
    arrivals: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])
    late_s: list[float] = field(default_factory=list[float])
    ended_s: float = 0.0
    lost_s: list[float] = field(default_factory=list[float])


class CheapLine:
    """One call in progress: `async with CheapLine(script, held) as line:`."""

    def __init__(self, script: Script, held: HeldCall) -> None:
        self.held = held
        self.over = asyncio.Event()
        self._script = script
        self._phone = PhoneCall()
        self._started_at = 0.0
        self._stack = contextlib.AsyncExitStack()
        self._session: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse
        self._instructions: CallInstructions
        self._chunk = 0  # of the stream
        self._to_say: list[str] = []  # payloads in reverse order
        self._said = asyncio.Event()
        self._said_s = 0.0
        self._dry_s = 0.0  # when all received audio will have been played
        self._sounded_s = 0.0  # when its last audible part will have been played
        self._amount_s = 0.0  # how much audible sound was received in all
        self._marks: list[tuple[float, str]] = []

    async def __aenter__(self) -> "CheapLine":
        """Place the call, and return when media flows.

        Raises:
            NotConnectedError: The server answered without a media stream.
            TimeoutError: There was no connection in time.
            aiohttp.ClientError: The connection failed.
        """
        try:
            async with asyncio.timeout(CONNECTED_S):
                await self._connect_call()
            group = await self._stack.enter_async_context(asyncio.TaskGroup())
        except BaseException:
            await self._stack.aclose()
            raise
        self._tasks = [
            group.create_task(self._send_sound()),
            group.create_task(self._receive_until_over()),
        ]
        return self

    async def _connect_call(self) -> None:
        """Post the webhook, open the media socket that its answer names, and begin the stream."""
        script = self._script
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        twiml = await ring(
            self._session,
            self._phone.form(),
            base_url=script.url,
            public_url=script.url,
            auth_token=script.auth_token,
        )
        await self._open_stream(twiml)
        self._started_at = asyncio.get_running_loop().time()
        self.held.connected_s = self._started_at - self.held.rang_at

    async def _open_stream(self, instructions: CallInstructions) -> None:
        url = (instructions.stream_url or "").replace("http", "ws", 1)
        self._socket = await self._session.ws_connect(url, max_msg_size=0)
        self._instructions, self._chunk = instructions, 0
        await self._socket.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await self._socket.send_json(start_message(self._phone, instructions))

    async def _open_again(self) -> bool:
        """Ask the `action` for the next stream, as Twilio does; return False if the call is over.

        What was queued is not played.
        """
        if self.over.is_set() or self._instructions.action is None:
            return False
        self.held.lost_s.append(self.now_s)
        self._take_message('{"event":"clear"}')
        self._marks.clear()
        script = self._script
        server = AgentServer(
            base_url=script.url, public_url=script.url, auth_token=script.auth_token
        )
        form = self._phone.form() | {"CallStatus": "in-progress"}
        instructions, asks, pause_s = self._instructions, self._instructions.action, ACTION_S
        try:
            async with asyncio.timeout(AGAIN_S):
                while asks is not None:
                    await asyncio.sleep(pause_s)
                    instructions = await follow(self._session, asks, form, server=server)
                    asks = None if instructions.stream_url else instructions.redirect
                    pause_s = instructions.pause_s
                if instructions.stream_url is None:
                    return False
                self._phone = replace(self._phone, stream_sid="MZ" + secrets.token_hex(16))
                await self._open_stream(instructions)
        except (
            NotConnectedError,
            aiohttp.ClientError,
            ConnectionError,
            TimeoutError,
            SyntaxError,  # the answer is no XML
        ) as broken:
            self.held.error = f"no next stream: {type(broken).__name__}: {broken}"
            return False
        return True

    async def __aexit__(self, *failed: object) -> None:
        """Hang up."""
        self.over.set()
        self.held.ended_s = self.now_s
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._socket.send_json(
                {"event": "stop", "streamSid": self._phone.stream_sid, "stop": {}}
            )
        await self._socket.close()
        for task in self._tasks:
            task.cancel()
        await self._stack.aclose()

    @property
    def now_s(self) -> float:
        """Seconds of the call."""
        return asyncio.get_running_loop().time() - self._started_at

    async def say(self, sound: bytes) -> tuple[float, float]:
        """Send mu-law audio; return the times when its first and its last sample left."""
        pieces = [
            sound[at : at + PIECE].ljust(PIECE, SILENT_BYTE) for at in range(0, len(sound), PIECE)
        ]
        began_s = self.now_s
        self._said.clear()
        self._to_say = [base64.b64encode(piece).decode() for piece in reversed(pieces)]
        await self._said.wait()
        padding_s = (len(pieces) * PIECE - len(sound)) / RATE_HZ
        return began_s, self._said_s - padding_s

    async def wait_for_end(self, wanted_s: float, *, within_s: float) -> None:
        """Wait until the agent has said about `wanted_s` of sound and is quiet for `QUIET_S`.

        After less sound the quiet must last `LOST_S`, and without any sound `NO_SOUND_S`. Return
        after `within_s`, or when the call is over, in any case.
        """
        since_s, before_s = self.now_s, self._amount_s
        while not self.over.is_set() and self.now_s - since_s < within_s:
            await asyncio.sleep(POLL_S)
            amount_s = self._amount_s - before_s
            quiet_s = self.now_s - max(self._sounded_s, since_s)
            if not amount_s and quiet_s > NO_SOUND_S:
                return
            if amount_s and quiet_s > (
                QUIET_S if amount_s >= COMPLETE_SHARE * wanted_s else LOST_S
            ):
                return

    async def _send_sound(self) -> None:
        """Send speech or silence every 20 ms, and return due marks, until the call is over."""
        ticks, worst_s = 0, 0.0
        while not self.over.is_set():
            ticks += 1
            self._chunk += 1
            sid = self._phone.stream_sid
            speaking = bool(self._to_say)
            payload = self._to_say.pop() if speaking else SILENCE
            with contextlib.suppress(ConnectionError, RuntimeError):  # the reader sees the reason
                await self._socket.send_str(_media_message(self._chunk, payload, sid))
                await self._echo_due_marks(sid)
            if speaking and not self._to_say:
                self._said_s = self.now_s
                self._said.set()
            worst_s = max(worst_s, self.now_s - (ticks - 1) * TICK_S)
            if ticks % 50 == 0:
                self.held.late_s.append(worst_s)
                worst_s = 0.0
            await asyncio.sleep(max(0.0, ticks * TICK_S - self.now_s))
        self._said.set()

    async def _echo_due_marks(self, sid: str) -> None:
        while self._marks and self._marks[0][0] <= self.now_s:
            _, name = self._marks.pop(0)
            await self._socket.send_json(
                {"event": "mark", "mark": {"name": name}, "streamSid": sid, "sequenceNumber": "1"}
            )

    async def _receive_until_over(self) -> None:
        is_open = True
        while is_open:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take_message(message.data)
            is_open = await self._open_again()
        self.over.set()

    def _take_message(self, text: str) -> None:
        """Record a message, and note when its sound will have been played."""
        event = EVENT.search(text)
        now_s = self.now_s
        match event.group(1) if event else "":
            case "media" if found := PAYLOAD.search(text):
                payload = found.group(1)
                self.held.arrivals.append((now_s, "media", payload))
                length_s = (len(payload) * 3 // 4 - payload.count("=", -2)) / RATE_HZ
                self._dry_s = max(self._dry_s, now_s) + length_s
                if not _is_silent(payload):
                    self._sounded_s, self._amount_s = self._dry_s, self._amount_s + length_s
            case "mark" if found := NAME.search(text):
                self._marks.append((self._dry_s, found.group(1)))
            case "clear":
                self.held.arrivals.append((now_s, "clear", ""))
                self._dry_s = min(self._dry_s, now_s)
                self._sounded_s = min(self._sounded_s, now_s)
                self._marks = [(now_s, name) for _, name in self._marks]
            case _:
                pass


def _media_message(chunk: int, payload: str, sid: str) -> str:
    track = f'"track":"inbound","chunk":"{chunk}","timestamp":"{chunk * 20}"'
    head = f'"event":"media","sequenceNumber":"{chunk + 1}","streamSid":"{sid}"'
    return f'{{{head},"media":{{{track},"payload":"{payload}"}}}}'


def _is_silent(payload: str) -> bool:
    """Return whether base64 of mu-law holds only silence."""
    return payload.count("/") >= len(payload) - 4


async def hold_call(script: Script, held: HeldCall, *, questions: Sequence[str], cue: Cue) -> None:
    """Hold one call from ring to hang-up; `held` records it, even if it ends early.

    Args:
        script: Data that callers share.
        held: Gets the recording of the call.
        questions: Asked in this order.
        cue: Waits until the question with the given index may be asked.
    """
    expected = answers(list(questions), greeting=script.greeting)
    try:
        async with CheapLine(script, held) as line:
            await line.wait_for_end(script.length_s(script.greeting), within_s=GREETED_S)
            for index, question in enumerate(questions):
                await cue(index)
                if line.over.is_set():
                    raise ConnectionError("the agent hung up")  # noqa: TRY301 - noted below
                began_s, stop_s = await line.say(script.phrases[question])
                await line.wait_for_end(script.length_s(expected[index]), within_s=ANSWER_S)
                held.turns.append(
                    HeldTurn(
                        question=question,
                        answer=expected[index],
                        began_s=began_s,
                        stop_s=stop_s,
                        end_s=line.now_s,
                    )
                )
    except NotConnectedError as refused:
        held.refused, held.error = True, str(refused)
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as broken:
        held.error = held.error or f"{type(broken).__name__}: {broken}"
