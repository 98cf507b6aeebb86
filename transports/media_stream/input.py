"""The caller's side of a media stream.

Pipecat's websocket input ignores `mark` and `stop`, stops reading as soon as the call begins to end
(while the goodbye is still played), waits forever for a silent far end, and accepts any number of
messages of any size.
"""

import asyncio
from collections import deque
from typing import Final

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import EndFrame, InputAudioRawFrame, InputDTMFFrame, StartFrame
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketInputTransport,
    FastAPIWebsocketTransport,
)

from transports.far_end import AUDIO_PER_S, KEYS_CAP, KEYS_PER_S, FloodLimit
from transports.media_stream.line import (
    HUNG_UP,
    LOST,
    NORMAL,
    STALLED,
    StreamLine,
    StreamSocket,
    close,
)
from transports.media_stream.messages import (
    MESSAGE_S,
    POLICY,
    TOO_BIG,
    Codec,
    Connected,
    Digit,
    MarkEchoed,
    Media,
    Message,
    Refusal,
    Started,
    Stopped,
)
from transports.media_stream.output import InOrder

AUDIO_CAP_S: Final = 6.0  # the largest backlog: a line with a longer delay counts as lost
STEPS: Final = 10  # in which the time without media is measured
MAX_ODD: Final = 50  # refused messages within `ODD_S` (chosen); more are a flood
ODD_S: Final = 1.0


class StreamInput(FastAPIWebsocketInputTransport):
    """Reads a stream's messages, and passes the caller's audio and digits on."""

    def __init__(self, transport: FastAPIWebsocketTransport, line: StreamLine) -> None:
        super().__init__(transport, transport._client, transport._params)  # noqa: SLF001 - as Pipecat's own does
        self._line = line
        self._resampler = create_stream_resampler()
        self._media_at = line.clock()
        self._audio = FloodLimit(per_s=AUDIO_PER_S, cap=AUDIO_CAP_S)
        self._keys = FloodLimit(per_s=KEYS_PER_S, cap=KEYS_CAP)
        self._queue: InOrder[Media] = InOrder()
        self._half = b""  # the beginning of a sample whose end is in the next message
        self._odd_at: deque[float] = deque(maxlen=MAX_ODD + 1)  # times of refused messages
        self._ending = False
        self._watch_task: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Start to read, and to watch for a line without media."""
        self._media_at = self._line.clock()
        self._watch_task = self.create_task(self._watch_for_stall(), "stalled line")
        await super().start(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Stop passing audio on, but continue to read: marks show when the goodbye was played.

        The output closes the socket when everything was played.
        """
        self._ending = True
        await BaseInputTransport.stop(self, frame)
        await self._client.disconnect()  # the socket stays open for the output, which shares it

    async def _stop_tasks(self) -> None:
        """Stop our watch as well as Pipecat's tasks."""
        if self._watch_task:
            await self.cancel_task(self._watch_task)
            self._watch_task = None
        await super()._stop_tasks()

    async def _watch_for_stall(self) -> None:
        """Stop reading a stream that has brought no media for `stalled_s`.

        The time is measured in steps, so that a stall of our own process counts as one step only.
        """
        silent_steps = 0
        while True:
            heard_at = self._media_at
            await asyncio.sleep(self._line.stalled_s / STEPS)
            silent = self._line.up.is_set() and self._media_at == heard_at
            silent_steps = silent_steps + 1 if silent else 0
            if silent_steps == STEPS:
                self._line.socket.stop_reading()
                silent_steps = 0

    async def _receive_messages(self) -> None:
        """Read the call's streams, one after the other, until the far end is gone.

        Pipecat starts this in a task. A stream without messages for too long raises `TimeoutError`
        (see `_watch_for_stall`).
        """
        while True:
            socket = self._line.socket
            try:
                reason = await self._read(socket)
            except TimeoutError:
                reason = STALLED
            finally:
                socket.ended.set()
            if not await self._line.wait_for_return(socket, reason):
                break
            self._queue = InOrder()  # each stream numbers its pieces from 1
            self._half = b""
            self._odd_at.clear()
            self._media_at = self._line.clock()
        if self._client.is_closing:
            return
        # A carrier closes the socket after its `stop`, so Pipecat must not close it.
        self._client._closing = True  # noqa: SLF001 - Pipecat has no method for it
        await self._line.gone(reason)
        await self._client.trigger_client_disconnected()

    async def _read(self, socket: StreamSocket) -> str:
        """Read a stream to its end, and act on its messages; return why it ended.

        A refused message is dropped; more than `MAX_ODD` within `ODD_S` end the stream.
        """
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return self._why_closed(message.get("code"))
            data = message.get("text")
            parsed = self._line.stream.dialect.read(
                data if data is not None else message.get("bytes") or b""
            )
            if isinstance(parsed, Stopped):
                return HUNG_UP
            if not (reason := _why_refused(parsed, self._line.stream.theirs)):
                await self._act_on_message(parsed)
                continue
            self._line.refused(reason)
            self._odd_at.append(self._line.clock())
            if len(self._odd_at) > MAX_ODD and self._odd_at[-1] - self._odd_at[0] < ODD_S:
                self._line.refused("flood_of_odd_messages")
                await close(socket.websocket, POLICY)
                return LOST

    def _why_closed(self, code: int | None) -> str:
        """Return why a socket was closed; only some carriers close it normally for a hang-up."""
        if code == TOO_BIG:  # the server has a limit of its own
            self._line.refused("message_too_big")
        # After a lost connection, the code is 1005.
        is_hang_up = code == NORMAL and self._line.stream.dialect.ends_by_close
        return HUNG_UP if is_hang_up else LOST

    async def _act_on_message(self, parsed: Message) -> None:
        """Act on an accepted message: audio in order, a key, or the echo of a mark."""
        match parsed:
            case Media(place=place):
                await self._line.played()
                pieces = [parsed] if place is None else self._queue.add(parsed, place)
                for piece in pieces:
                    await self._decode_and_push(piece.payload)
            case Digit(key=key):
                await self._press(key)
            case MarkEchoed(name=name):
                await self._line.echoed(name)
            case _:
                pass

    async def _decode_and_push(self, payload: bytes) -> None:
        """Decode audio and push it; drop it if it comes too fast or the call is ending.

        In any case it shows that the line is not stalled. Half a sample waits for the next piece.
        """
        self._media_at = self._line.clock()
        codec = self._line.stream.theirs
        payload = self._half + payload
        size = len(payload) // codec.sample_bytes * codec.sample_bytes
        payload, self._half = payload[:size], payload[size:]
        if self._ending or not payload:
            return
        if not await self._audio.take(codec.seconds(payload)):
            self._line.refused("audio_faster_than_time")
            return
        pcm = await codec.decode(payload, self.sample_rate, self._resampler)
        await self.push_audio_frame(
            InputAudioRawFrame(audio=pcm, sample_rate=self.sample_rate, num_channels=1)
        )

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Push audio at once, without Pipecat's queue, which is for filters that we do not use."""
        if not self._paused:
            await self.push_frame(frame)  # logs exceptions, and does not raise them

    async def _press(self, key: str) -> None:
        """Push a key of the caller; refuse keys that come faster than a person can press them."""
        if not await self._keys.take(1):
            self._line.refused("keys_faster_than_fingers")
            return
        await self.push_frame(InputDTMFFrame(button=KeypadEntry(key)))


def _why_refused(parsed: Message, codec: Codec) -> str:
    """Return why a message is refused during a call; empty if it is accepted."""
    match parsed:
        case Refusal(reason=reason):
            return reason
        case Connected() | Started():
            return "second_start"
        case Media(payload=payload) if codec.seconds(payload) > MESSAGE_S:
            return "media_too_long"
        case _:
            return ""
