"""One provider's place in a stage's ladder, for one call: its service, its seat, its attempt."""

from pipecat.frames.frames import StartFrame
from pipecat.processors.frame_processor import FrameProcessor, FrameProcessorSetup

from processors.ladder.rung_pipeline import STOP_S, RungPipeline
from processors.ladder.seat import Seat


class Rung:
    """What every stage does with a rung; each stage's own rung knows how it is asked.

    Attributes:
        name: As the configuration has it.
        pipe: The provider's service in a small pipeline of its own.
        seat: This call's place at it, as far as its connections are limited.
        attempt: The attempt that it works on, if any.
        opened: Whether its connection was begun; a cold standby's is not before it is asked.
    """

    def __init__(self, pipe: RungPipeline, *, seat: Seat) -> None:
        self.name = pipe.name
        self.pipe = pipe
        self.seat = seat
        self.attempt: int | None = None
        self.opened = False
        self._given: tuple[FrameProcessor, FrameProcessorSetup] | None = None
        self._start_frame: StartFrame | None = None

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> None:
        """Learn what is needed to open the rung, now or later."""
        self._given = (owner, setup)

    def open(self) -> bool:
        """Begin to connect if that was not begun; False: there is no place for this call."""
        if self.opened:
            return True
        if self._given is None or not self.seat.take():
            return False
        self.opened = True
        self.pipe.setup(*self._given)
        if self._start_frame:
            self.pipe.start(self._start_frame)
        return True

    def start(self, frame: StartFrame) -> None:
        """Start the service as soon as it is set up."""
        self._start_frame = frame
        if self.opened:
            self.pipe.start(frame)

    async def close(self, *, within_s: float = STOP_S) -> None:
        """Let the connection and the seat go."""
        if self.opened:
            await self.pipe.cleanup(within_s=within_s)
        self.seat.leave()
