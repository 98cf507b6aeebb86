"""Our side of a browser's audio: kept a little ahead of what it takes."""

import asyncio
from collections import deque
from typing import Final

from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.transports.smallwebrtc.transport import (
    SmallWebRTCClient,
    SmallWebRTCOutputTransport,
    SmallWebRTCTransport,
)

from transports.leg_output import LegOutput

AHEAD: Final = 3  # pieces of 20 ms that wait to be sent, so that a busy moment tears no word


class Cushion:
    """Lets a writer go on while fewer than `AHEAD` pieces wait to be taken."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bool]] = deque()

    async def add(self, taken: asyncio.Future[bool]) -> None:
        """Note a piece, and return when another one may be written."""
        self._waiting.append(taken)
        while len(self._waiting) > AHEAD:
            await self._waiting.popleft()


class WebrtcOutput(LegOutput, SmallWebRTCOutputTransport):
    """Pipecat's own writes one piece and waits until it was sent: each end of one is a risk."""

    def __init__(self, transport: SmallWebRTCTransport, client: SmallWebRTCClient) -> None:
        super().__init__(client, transport._params, name=transport._output_name)  # noqa: SLF001 - as Pipecat's own does
        self._cushion = Cushion()

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Send a piece of audio."""
        track = self._client._audio_output_track  # noqa: SLF001 - Pipecat shows it nowhere
        if track is None or not self._client._can_send():  # noqa: SLF001 - as Pipecat's own asks
            return False
        await self._cushion.add(track.add_audio_bytes(frame.audio))
        return True
