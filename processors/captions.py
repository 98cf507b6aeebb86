"""Captions: what both sides say, as it is said, for the caller's own screen."""

from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import (
    InterimTranscriptionFrame,
    LLMContextAssistantTurnFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.frame_processor import FrameDirection


class Captions(BaseObserver):
    """Shows the caller's words as they are recognised and the agent's as they are played.

    Args:
        show: Takes `{"type": "said", "who": "caller" | "agent", "text": str, "final": bool}`; a
            caption that is not final is replaced by the next one of the same side.
        output: The name of the processor that plays: words count when it lets them go.
    """

    def __init__(self, *, show: Callable[[dict[str, Any]], None], output: str) -> None:
        super().__init__(observe_every_push=True)
        self._show = show
        self._output = output
        self._spoken = ""

    async def on_push_frame(self, data: FramePushed) -> None:
        """Show what one frame says."""
        if data.direction is not FrameDirection.DOWNSTREAM:
            return
        match data.frame:
            case TTSTextFrame() as frame if data.source.name == self._output:
                self._spoken = joined(self._spoken, frame.text)
                self._said("agent", self._spoken, final=False)
            case InterimTranscriptionFrame() as frame if data.first_push:
                self._said("caller", frame.text, final=False)
            case TranscriptionFrame() as frame if data.first_push:
                self._said("caller", frame.text, final=True)
            case LLMContextAssistantTurnFrame() as frame if data.first_push:
                self._spoken = ""
                self._said("agent", frame.text, final=True)
            case _:
                pass

    def _said(self, who: str, text: str, *, final: bool) -> None:
        if text.strip():
            self._show({"type": "said", "who": who, "text": text.strip(), "final": final})


def joined(before: str, more: str) -> str:
    """Return two pieces of speech with one space between them."""
    return f"{before.rstrip()} {more.lstrip()}".strip()
