"""A Pipecat service as a recogniser: not built yet."""

from pipecat.processors.frame_processor import FrameProcessor

from providers.provider import RungSpec, SharedService


def build(rung: RungSpec) -> FrameProcessor:
    """Return the service that speaks to this rung."""
    raise NotImplementedError("the recogniser of kind: pipecat is not built yet")


def share(rung: RungSpec) -> SharedService | None:
    """Return what all calls on this rung share, if anything."""
    del rung
    return None


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Send a small request."""
    raise NotImplementedError("the recogniser of kind: pipecat is not built yet")
