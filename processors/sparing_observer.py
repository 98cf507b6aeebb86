"""Shows the observers of a call what they may want to see, and nothing of the rest."""

from pipecat.frames.frames import InputAudioRawFrame
from pipecat.observers.base_observer import FrameProcessed, FramePushed
from pipecat.pipeline.worker_observer import WorkerObserver


class SparingObserver(WorkerObserver):
    """In the place of Pipecat's, which has a queue and a task for each observer.

    That one wakes every observer for each frame that is pushed, and again for each processor that
    begins to work on it. Ours read what is pushed alone, and none reads the caller's sound.
    """

    async def on_process_frame(self, data: FrameProcessed) -> None:
        """Show nobody that a processor begins to work."""

    async def on_push_frame(self, data: FramePushed) -> None:
        """Show what was pushed, unless it is the caller's sound."""
        if not isinstance(data.frame, InputAudioRawFrame):
            await super().on_push_frame(data)
