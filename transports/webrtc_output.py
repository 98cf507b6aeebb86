"""Our side of a browser's audio: kept a little ahead of what it takes."""

import asyncio
from collections import deque
from typing import Final

from pipecat.frames.frames import Frame, InterruptionFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.smallwebrtc.transport import (
    RawAudioTrack,
    SmallWebRTCClient,
    SmallWebRTCOutputTransport,
    SmallWebRTCTransport,
)

from transports.leg_output import LegOutput
from transports.webrtc_connection import DOUBT_S, BrowserConnection

# Pieces of 20 ms that wait to be sent: after a stall of 0.15 s so much goes out at once, and what
# is not there then is a hole. The browser's own buffer bridges the stall (pages/telephone.js).
AHEAD: Final = 10
LOOK_S: Final = 0.02  # whether a line that is in doubt is back


class Cushion:
    """Lets a writer go on while fewer than `AHEAD` pieces wait to be taken."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[bool], bool]] = deque()

    async def add(self, taken: asyncio.Future[bool], *, must: bool = False) -> None:
        """Note a piece, and return when another one may be written.

        Args:
            taken: Done when it was sent.
            must: No barge-in drops it.
        """
        self._waiting.append((taken, must))
        while len(self._waiting) > AHEAD:
            await self._waiting.popleft()[0]

    def cut(self, track: RawAudioTrack) -> None:
        """Drop what waits: the caller barged in. What must be heard keeps all of it."""
        if any(must and not taken.done() for taken, must in self._waiting):
            return
        self._waiting.clear()
        chunks = track._chunk_queue  # noqa: SLF001 - Pipecat's own never drops any
        while chunks:
            _, taken = chunks.popleft()
            if taken is not None and not taken.done():
                taken.set_result(False)


class WebrtcOutput(LegOutput, SmallWebRTCOutputTransport):
    """Pipecat's own writes one piece and waits until it was sent: each end of one is a risk."""

    def __init__(self, transport: SmallWebRTCTransport, client: SmallWebRTCClient) -> None:
        super().__init__(client, transport._params, name=transport._output_name)  # noqa: SLF001 - as Pipecat's own does
        self._cushion = Cushion()
        self._cut_at = 0  # frames are numbered as they are made: older ones were interrupted

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop, on a barge-in, what the browser has not got yet."""
        if isinstance(frame, InterruptionFrame):
            self._cut_at = frame.id
            if (track := self._client._audio_output_track) is not None:  # noqa: SLF001 - see below
                self._cushion.cut(track)
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio, unless a barge-in overtook it."""
        await self._line_back()
        if frame.id < self._cut_at and frame.interruptible:
            return False
        track = self._client._audio_output_track  # noqa: SLF001 - Pipecat shows it nowhere
        if track is None or not self._client._can_send():  # noqa: SLF001 - as Pipecat's own asks
            return False
        taken = track.add_audio_bytes(frame.audio)
        await self._cushion.add(taken, must=not frame.interruptible)
        return True

    async def _line_back(self) -> None:
        """Wait while nothing comes of the browser: what was said now would be said to nobody."""
        line = self._client._webrtc_connection  # noqa: SLF001 - Pipecat shows it nowhere
        if not isinstance(line, BrowserConnection):
            return
        while line.quiet.now_s > DOUBT_S and line.is_connected():
            await asyncio.sleep(LOOK_S)
            if (end := self.line_end) is not None:
                end.line.stand_still(LOOK_S, end.clock())
