"""Speech whose beginning waits behind other speech loses nothing of it."""

from pipecat.frames.frames import StartFrame
from pipecat.transports.base_output import BaseOutputTransport


class WholeOutput(BaseOutputTransport):
    """Keeps what waits to fill a piece when the speech before it ends.

    Pipecat's sender throws that away (`_bot_stopped_speaking`, base_output.py:853), so up to 40 ms
    went missing from the middle of a word when an answer was being queued behind a filler. After an
    interruption nothing of the kind waits: the sender has emptied itself by then.
    """

    async def set_transport_ready(self, frame: StartFrame) -> None:
        """Begin to send."""
        await super().set_transport_ready(frame)
        for sender in self._media_senders.values():
            sender._clear_audio_buffer = _keep  # noqa: SLF001 - Pipecat has no way to ask for it


def _keep() -> None:
    """Throw nothing away."""
