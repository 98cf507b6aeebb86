"""One STT rung: its connection, its results and its errors.

If the service leaves reconnecting to us, a lost connection is restored in the background, with
repeated tries. A standby that is not connected from the start is set up when it is needed.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    MetricsFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.stt_service import STTService

from calls.transcript import Heard
from fallbacks.classification import classify_error
from fallbacks.failure import Failure, Kind, ServiceError, failed, finding
from processors.ladder.gate import Seat
from processors.ladder.rung_pipeline import STOP_S, RungPipeline
from processors.ladder.stage import Reconnector, Rung, Stage

Transcript: TypeAlias = TranscriptionFrame | InterimTranscriptionFrame
RecogniserEvent: TypeAlias = tuple["RecogniserRung", Frame | None]
"""A frame that a recogniser pushed; `None` if it has connected."""


@runtime_checkable
class Candid(Protocol):
    """A service that sends results without words, too, if `supervised` is set."""

    supervised: bool


@runtime_checkable
class Supervised(Candid, Protocol):
    """A service that leaves reconnecting to us, and accepts audio that bypasses its queue."""

    @property
    def connected(self) -> bool:
        """Whether it has an open stream."""
        ...

    async def reconnect(self) -> bool:
        """Open a new stream; return whether it is open."""
        ...

    def send_at_once(self, sound: bytes) -> bool:
        """Send audio directly; return False if it must be queued now."""
        ...

    def ask_for_words(self) -> None:
        """Request the words so far, while audio continues; do nothing if that is impossible."""
        ...


class RecogniserRung(Rung):
    """A recogniser, as the STT stage feeds it.

    Attributes:
        reconnector: Restores its connection; `None` if the service does that itself.
    """

    def __init__(
        self,
        name: str,
        service: FrameProcessor,
        *,
        stage: Stage[RecogniserEvent],
        allowed: Callable[[], bool],
        seat: Seat,
    ) -> None:
        """Put a service into its own pipeline.

        Args:
            name: The rung's name.
            service: A recogniser.
            stage: Receives the recogniser's frames.
            allowed: Returns whether the rung may be asked now.
            seat: This call's place at the rung.
        """
        pipe = RungPipeline(name, service, output=self._report_frame, on_ready=self._report_ready)
        super().__init__(pipe, seat=seat)
        self._stage = stage
        self._rate_hz = 0
        self._supervised = service if isinstance(service, Supervised) else None
        self.reconnector: Reconnector | None = None
        if self._supervised:
            connect, clock = self._open_new_stream, stage.now
            self.reconnector = Reconnector(name, connect, clock=clock, allowed=allowed)
        _disable_own_reconnect(service)

    @property
    def connected(self) -> bool:
        """Whether it can receive audio."""
        if not self.pipe.ready.is_set() or (self.reconnector and self.reconnector.busy):
            return False
        return self._supervised is None or self._supervised.connected

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> None:
        """Store what `open` needs, and the sample rate."""
        super().setup(owner, setup)
        self._rate_hz = setup.audio_in_sample_rate

    async def feed(self, sound: Iterable[bytes]) -> None:
        """Send it audio, directly if possible; audio is dropped while the service is not ready."""
        direct = self._supervised if self.pipe.takes else None
        for piece in sound:
            if direct is None or not direct.send_at_once(piece):
                await self.pipe.send(InputAudioRawFrame(piece, self._rate_hz, 1))

    def ask_for_words(self) -> None:
        """Ask it to finalise its transcript so far, if it can do that while audio continues."""
        if self._supervised and self.pipe.takes:
            self._supervised.ask_for_words()

    def note_connected(self) -> None:
        """Record that it is connected; a connection that lasts resets the backoff."""
        if self.reconnector:
            self.reconnector.backoff.up(self._stage.now())

    async def close(self, *, within_s: float = STOP_S) -> None:
        """Stop reconnecting, close the connection and return the seat.

        The service has `within_s` to end, and as long again to be released.
        """
        if self.reconnector:
            await self.reconnector.close(self._stage)
        await super().close(within_s=within_s)

    def reconnect(self, *, hurry: bool) -> None:
        """Reconnect in the background, with `hurry` at once, unless the service does so itself."""
        if self.reconnector is None:
            return
        if hurry:
            self.reconnector.hurry()
        if not self.reconnector.busy:
            self.reconnector.backoff.down(self._stage.now())
            self.reconnector.start_reconnecting(self._stage)

    async def _open_new_stream(self) -> bool:
        """Open a new stream, report it to the stage, and return whether it is open.

        False if the service reconnects by itself. Called by `reconnector`.
        """
        connected = self._supervised is not None and await self._supervised.reconnect()
        if connected:
            await self._stage.report((self, None))
        return connected

    async def _report_ready(self, _pipe: RungPipeline) -> None:
        await self._stage.report((self, None))

    async def _report_frame(
        self, _pipe: RungPipeline, frame: Frame, _direction: FrameDirection
    ) -> None:
        """Report what the stage can use; drop other frames of the service."""
        if isinstance(frame, Transcript | ErrorFrame | MetricsFrame):
            await self._stage.report((self, frame))


def recogniser_failure_of(frame: ErrorFrame, rung_name: str) -> Failure:
    """Return the failure in a recogniser's error frame.

    Our own services attach it; for others it is classified by the exception.
    """
    error = frame.exception
    if isinstance(error, ServiceError):
        return error.failure
    if frame.processor is not None and not frame.processor.is_usable:
        found = finding(Kind.PROTOCOL, permanent=True)  # the service has given up
    else:
        found = classify_error(error) if error else finding(Kind.PROTOCOL, unknown=True)
    reason = type(error).__name__ if error else "error"
    return failed(found, "stt", provider=rung_name, reason=reason)


def heard_in(frame: Transcript) -> Heard:
    """Return the result in a frame, with the details that our own services attach."""
    final = isinstance(frame, TranscriptionFrame)
    heard = frame.result if isinstance(frame.result, Heard) else Heard()
    return replace(
        heard,
        text=frame.text.strip(),
        final=final or heard.final,
        interim=not final,
        flushed=final and frame.finalized,
    )


def _disable_own_reconnect(service: FrameProcessor) -> None:
    """Stop a service from reconnecting and passing audio on: the stage does both."""
    if isinstance(service, Candid):
        service.supervised = True
    if isinstance(service, STTService):
        service._audio_passthrough = False  # noqa: SLF001 - Pipecat takes it at construction only
