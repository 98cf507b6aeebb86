"""The two directions of one Twilio Media Stream, as Pipecat's transport with our rules on top.

Pipecat's own websocket transport ignores `mark` and `stop`, stops reading as soon as the call is
told to end (the goodbye is still playing then), waits for ever for a far end that fell silent and
takes any amount of anything.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fastapi import WebSocket
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.audio.utils import create_stream_resampler, ulaw_to_pcm
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketInputTransport,
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)
from starlette.websockets import WebSocketDisconnect, WebSocketState

from calls.entry import Tell
from calls.events import InputRefused, KeyPressed
from transports.allowance import Allowance
from transports.twilio_wire import (
    RATE_HZ,
    TOO_BIG,
    Connected,
    Digit,
    MarkEchoed,
    Marks,
    Media,
    Message,
    Refusal,
    Started,
    Stopped,
    read,
)

LEAD_S: Final = 0.1  # audio kept ahead of the ear, so that a busy moment of ours makes no gap
WRITE_S: Final = 3.0  # a far end that takes nothing for so long hears nothing either
PLAYED_OUT_S: Final = 2.0  # how long the last words may take from our socket to the ear
STALLED_S: Final = 5.0  # media comes every 20 ms, also in silence: without any the line is dead
CLOSE_S: Final = 1.0  # for the far end to answer our close; a dead one never does
HUNG_UP: Final = "caller_hung_up"
NORMAL: Final = 1000  # RFC 6455, 7.4.1
AUDIO_CAP_S: Final = 6.0  # a line held up for less than the stall time may deliver it all at once
AUDIO_PER_S: Final = 1.02  # the carrier's clock may run a little faster than ours
KEYS_PER_S: Final = 10.0  # ITU-T Q.24: a key takes at least 65 ms
KEYS_CAP: Final = 20.0


class TwilioLine(FastAPIWebsocketTransport):
    """One Media Stream whose `start` has been read."""

    def __init__(
        self,
        websocket: WebSocket,
        *,
        stream_sid: str,
        tell: Tell,
        clock: Callable[[], float],
        stalled_s: float,
    ) -> None:
        serializer = TwilioFrameSerializer(
            stream_sid, params=TwilioFrameSerializer.InputParams(auto_hang_up=False)
        )
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=RATE_HZ,
            audio_out_enabled=True,
            audio_out_sample_rate=RATE_HZ,
            audio_out_end_silence_secs=0,  # the last mark tells when the last word was played
            serializer=serializer,
            allowed_origins=[],  # a carrier is no browser and sends no Origin
        )
        super().__init__(websocket, params)
        self.websocket = websocket
        self.stream_sid = stream_sid
        self.tell = tell
        self.clock = clock
        self.stalled_s = stalled_s
        self.marks = Marks()
        self.quiet = asyncio.Event()  # set while nothing marked is still to be played
        self.quiet.set()
        self._gone_for: str | None = None
        self._told: set[str] = set()
        self._register_event_handler("on_gone")
        self.twilio_input = self._input = TwilioInput(self, self._client, self._params)
        self.twilio_output = self._output = TwilioOutput(self, self._client, self._params)

    async def gone(self, reason: str) -> None:
        """Tell the call, once, that the far end has gone."""
        if self._gone_for is not None:
            return
        self._gone_for = reason
        self.quiet.set()
        await self._call_event_handler("on_gone", reason)

    @property
    def caller_hung_up(self) -> bool:
        """Whether the carrier said that the call is over."""
        return self._gone_for == HUNG_UP

    def leave(self) -> None:
        """Say nothing of a far end that goes because we hang up."""
        self._gone_for = self._gone_for or "we_hung_up"
        self.quiet.set()

    def refused(self, reason: str) -> None:
        """Tell that something was not taken; a kind is told once a call, however often it comes."""
        if reason not in self._told:
            self._told.add(reason)
            self.tell(InputRefused(transport="twilio", reason=reason))


class TwilioInput(FastAPIWebsocketInputTransport):
    """Reads the caller's side at the pace at which we can take it."""

    def __init__(self, line: TwilioLine, client: Any, params: FastAPIWebsocketParams) -> None:
        super().__init__(line, client, params)
        self._line = line
        self._codec = create_stream_resampler()
        now = line.clock()
        self._media_at = now
        self._audio = Allowance(per_s=AUDIO_PER_S, cap=AUDIO_CAP_S, now=now)
        self._keys = Allowance(per_s=KEYS_PER_S, cap=KEYS_CAP, now=now)
        self._ending = False
        self._watch_task: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Begin to read, and to watch for a line that fell silent."""
        self._media_at = self._line.clock()
        self._watch_task = self.create_task(self._watch(), "stalled line")
        await super().start(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Take no more audio, but read on: marks tell when the goodbye was played.

        The socket is closed by the output, which is told to stop after it has played out.
        """
        self._ending = True
        await BaseInputTransport.stop(self, frame)
        await self._client.disconnect()  # gives up our share only; the output holds the other

    async def _stop_tasks(self) -> None:
        if self._watch_task:
            await self.cancel_task(self._watch_task)
            self._watch_task = None
        await super()._stop_tasks()

    async def _watch(self) -> None:
        while True:
            left_s = self._media_at + self._line.stalled_s - self._line.clock()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        await self._line.gone("stalled")

    async def _receive_messages(self) -> None:
        reason = await self._read_until_over()
        if not self._client.is_closing:
            await self._line.gone(reason)
            await self._client.trigger_client_disconnected()

    async def _read_until_over(self) -> str:
        while True:
            message = await self._line.websocket.receive()
            if message["type"] == "websocket.disconnect":
                if message.get("code") == TOO_BIG:  # the server has a limit of its own
                    self._line.refused("message too big")
                return "connection_lost"
            data = message.get("text")
            said = read(data if data is not None else message.get("bytes") or b"")
            if isinstance(said, Stopped):
                return HUNG_UP
            if isinstance(said, Refusal):
                self._line.refused(said.reason)
                if said.close_code is not None:
                    await close(self._line.websocket, said.close_code)
                    return "input_refused"
            else:
                await self._take(said)

    async def _take(self, said: Message) -> None:
        match said:
            case Media(payload=payload):
                await self._hear(payload)
            case Digit(key=key):
                await self._press(key)
            case MarkEchoed(name=name):
                self._line.marks.echoed(name)
                if self._line.marks.all_played:
                    self._line.quiet.set()
            case Connected() | Started():
                self._line.refused("second start")
            case _:
                pass

    async def _hear(self, payload: bytes) -> None:
        now = self._line.clock()
        self._media_at = now
        if self._ending or not payload:
            return
        if not self._audio.take(len(payload) / RATE_HZ, now):
            self._line.refused("more audio than time")
            return
        pcm = await ulaw_to_pcm(payload, RATE_HZ, self.sample_rate, self._codec)
        await self.push_audio_frame(
            InputAudioRawFrame(audio=pcm, sample_rate=self.sample_rate, num_channels=1)
        )

    async def _press(self, key: str) -> None:
        if not self._keys.take(1, self._line.clock()):
            self._line.refused("more keys than fingers")
            return
        self._line.tell(KeyPressed(key=key))
        await self.push_frame(InputDTMFFrame(button=KeypadEntry(key)))


class TwilioOutput(FastAPIWebsocketOutputTransport):
    """Plays to the caller, a little ahead of the ear, with marks behind the audio."""

    def __init__(self, line: TwilioLine, client: Any, params: FastAPIWebsocketParams) -> None:
        super().__init__(line, client, params)
        self._line = line
        self._cut_at = 0  # frames are numbered as they are made: older ones were interrupted

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; behind the last audio of an utterance goes a mark."""
        if isinstance(frame, BotStoppedSpeakingFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._mark(self._line.marks.close())
        await super().push_frame(frame, direction)

    async def stop(self, frame: EndFrame) -> None:
        """Play what is queued, wait until it was heard, then close the socket."""
        await BaseOutputTransport.stop(self, frame)
        await self._mark(self._line.marks.close())
        try:
            async with asyncio.timeout(PLAYED_OUT_S):
                await self._line.quiet.wait()
        except TimeoutError:
            self._line.refused("mark not echoed")
        await self._client.disconnect()

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio and, when it is due, a mark behind it.

        A piece taken from the queue a moment before an interruption emptied it comes here behind
        the `clear`, and would be a word's shred in the caller's sentence.
        """
        if frame.id < self._cut_at and frame.interruptible:
            return False
        taken = await super().write_audio_frame(frame)
        if taken:
            await self._mark(self._line.marks.sent(len(frame.audio) / 2 / self.sample_rate))
        return taken

    async def _mark(self, name: str | None) -> None:
        if name is None:
            return
        self._line.quiet.clear()
        mark = {"event": "mark", "streamSid": self._line.stream_sid, "mark": {"name": name}}
        await self._write_frame(OutputTransportMessageUrgentFrame(message=mark))

    def _must_be_heard(self) -> bool:
        """Return whether, after an interruption, audio is left that no caller may cut short."""
        sender = self._media_senders.get(None)
        if sender is None:
            return False
        return bool(sender._audio_runs) or sender._audio_queue.has_frame(OutputAudioRawFrame)  # noqa: SLF001 - Pipecat shows this nowhere

    async def _write_frame(self, frame: Frame) -> bool:
        if isinstance(frame, InterruptionFrame) and self._must_be_heard():
            return True  # a `clear` would tear a word out of it
        if isinstance(frame, InterruptionFrame):
            self._cut_at = frame.id
        try:
            async with asyncio.timeout(WRITE_S):
                written = await super()._write_frame(frame)
        except TimeoutError:
            await self._line.gone("stalled")
            return False
        if isinstance(frame, InterruptionFrame):  # the serializer made a `clear` of it
            self._line.marks.cleared()
            self._line.quiet.set()
        return written

    async def _write_audio_sleep(self) -> None:
        # `_next_send_time`, which an interruption resets, is here the moment at which the far end
        # would run dry. Pipecat's own pace restarts from now after a late write, so that every
        # busy moment of ours would be a gap for the caller.
        now = self._line.clock()
        chunk_s = self.audio_chunk_size / 2 / self.sample_rate
        self._next_send_time = max(self._next_send_time, now) + chunk_s
        await asyncio.sleep(max(0.0, self._next_send_time - LEAD_S - now))


async def close(websocket: WebSocket, code: int) -> None:
    """Close a socket, be it open, half closed or long gone, in bounded time."""
    if WebSocketState.DISCONNECTED in (websocket.application_state, websocket.client_state):
        return
    try:
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code)
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return  # there is nobody left to say goodbye to
