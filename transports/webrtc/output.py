"""Our audio to a browser, kept a little ahead of playback."""

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

from transports.owed_sound import OwedSound, RepeatingOutput
from transports.webrtc.connection import DOUBT_S, BrowserConnection

SAMPLE_RATE_HZ: Final = 16_000  # the rate of VAD, turn detection and recognisers
LOST_S: Final = 0.25  # sound sent this shortly before the last sign of life counts as lost (chosen)
CHUNK_S: Final = 0.01  # the length of a chunk in the track's queue
# How many pieces of 20 ms may wait to be sent. After a stall of 0.15 s, the pieces that were due
# are sent at once; without them the caller would hear a gap. The browser's own buffer covers the
# time of the stall (pages/telephone.js).
AHEAD: Final = 10
BROWSER_BACK_CHECK_S: Final = 0.02  # whether a silent browser is back


class Cushion:
    """The pieces of audio that wait to be sent; a writer waits if there are `AHEAD` of them."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[bool], bool]] = deque()

    async def add(self, taken: asyncio.Future[bool], *, uninterruptible: bool = False) -> None:
        """Record a piece, and wait until another one may be written.

        Args:
            taken: Done when the piece was sent or dropped.
            uninterruptible: Whether a barge-in must not drop the piece.
        """
        self._waiting.append((taken, uninterruptible))
        while len(self._waiting) > AHEAD:
            await self._waiting.popleft()[0]

    def cut(self, track: RawAudioTrack, *, lost: bool = False) -> bool:
        """Drop pending pieces, and return whether they were dropped; writers that wait go on.

        Args:
            track: The track that holds them.
            lost: Whether the line was lost. Otherwise the caller barged in: then nothing is dropped
                while a piece that must be heard is pending.
        """
        if not lost and any(kept and not taken.done() for taken, kept in self._waiting):
            return False
        self._waiting.clear()
        chunks = track._chunk_queue  # noqa: SLF001 - Pipecat has no method to drop them
        while chunks:
            _, taken = chunks.popleft()
            if taken is not None and not taken.done():
                taken.set_result(False)
        return True


class WebrtcOutput(RepeatingOutput, SmallWebRTCOutputTransport):
    """Plays to the browser, with up to `AHEAD` pieces written in advance.

    Pipecat's own output writes one piece and waits until it was sent, so each delay makes a gap.
    """

    def __init__(self, transport: SmallWebRTCTransport, client: SmallWebRTCClient) -> None:
        super().__init__(client, transport._params, name=transport._output_name)  # noqa: SLF001 - as Pipecat's own does
        self._cushion = Cushion()
        self.owed = OwedSound(
            rate_hz=SAMPLE_RATE_HZ,
            write=self._write,
            back=self._wait_until_back,
            note_heard=self._note_heard,
        )
        # Pieces that were sent but are not known to be heard: when they were sent, and their names.
        self._sent: deque[tuple[float, str]] = deque()
        self._uninterruptible = False  # whether a barge-in must not drop the current sound
        if (line := self._browser_connection) is not None:
            line.quiet.on_back = self._note_back
        self._cut_at = 0  # the id of the last barge-in: frames with a lower id were interrupted

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """On a barge-in, drop sound that waits to be sent, unless a part of it must be heard."""
        if isinstance(frame, InterruptionFrame):
            self._cut_at = frame.id
            track = self._client._audio_output_track  # noqa: SLF001 - Pipecat shows it nowhere
            if track is not None and self._cushion.cut(track):
                self.owed.drop()
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Queue a piece of audio and return True, or False if a later barge-in interrupted it.

        This waits while the browser is silent, or while `AHEAD` pieces wait to be sent.
        """
        await self._wait_until_back()
        await self.owed.repeat()
        if frame.id < self._cut_at and frame.interruptible:
            return False
        track = self._client._audio_output_track  # noqa: SLF001 - Pipecat shows it nowhere
        if track is None or not self._client._can_send():  # noqa: SLF001 - as Pipecat's own asks
            return False
        self._uninterruptible = not frame.interruptible
        await self.owed.write(frame.audio)
        return True

    async def _write(self, sound: bytes, name: str) -> None:
        """Queue a piece of audio, and record when the track has sent it."""
        self._note_heard()
        track = self._client._audio_output_track  # noqa: SLF001 - Pipecat shows it nowhere
        if track is None:
            return
        taken, now = track.add_audio_bytes(sound), asyncio.get_running_loop().time

        def note(sent: asyncio.Future[bool]) -> None:
            if not sent.cancelled() and sent.result():
                self._sent.append((now(), name))

        taken.add_done_callback(note)
        await self._cushion.add(taken, uninterruptible=self._uninterruptible)

    def _note_heard(self, quiet_s: float | None = None) -> None:
        """Count the sound as heard that was sent at least `LOST_S` before the last sign of life.

        Args:
            quiet_s: How long ago that was; `None` for the current silence of the browser.
        """
        if quiet_s is None:
            quiet_s = self._browser_connection.quiet.now_s if self._browser_connection else 0.0
        until = asyncio.get_running_loop().time() - quiet_s - LOST_S
        while self._sent and self._sent[0][0] <= until:
            self.owed.sent.echoed(self._sent.popleft()[1])

    def _note_back(self, quiet_s: float) -> None:
        """After more than `DOUBT_S` of silence, repeat the sound sent in it, from a word's start.

        Sound that waits to be sent is dropped, and repeated after it. Corrects the caller's line.
        """
        track = self._client._audio_output_track  # noqa: SLF001 - Pipecat shows it nowhere
        if quiet_s <= DOUBT_S or track is None:
            return
        self._note_heard(quiet_s)
        self._sent.clear()
        self.owed.note_lost()
        queued_s = len(track._chunk_queue) * CHUNK_S  # noqa: SLF001 - as in `Cushion`
        if self.owed.lost and (end := self.line_end) is not None:
            end.line.stand_still(self.owed.sent.length_s - queued_s, end.clock())
        self._cushion.cut(track, lost=True)
        self.repeat_owed()

    @property
    def _browser_connection(self) -> BrowserConnection | None:
        line = self._client._webrtc_connection  # noqa: SLF001 - Pipecat shows it nowhere
        return line if isinstance(line, BrowserConnection) else None

    async def _wait_until_back(self) -> None:
        """Wait while the browser is silent, because it may not hear us then.

        The caller's line is shifted meanwhile. It ends when the connection counts as lost.
        """
        if (line := self._browser_connection) is None:
            return
        while line.quiet.now_s > DOUBT_S and line.is_connected():
            await asyncio.sleep(BROWSER_BACK_CHECK_S)
            if (end := self.line_end) is not None:
                end.line.stand_still(BROWSER_BACK_CHECK_S, end.clock())
