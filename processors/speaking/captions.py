"""Captions: the words of both sides, while they are spoken, for the caller's screen."""

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

from calls.events import AgentSaid, Event
from processors.speaking.speech_queue import RUNG


class Captions(BaseObserver):
    """Shows the caller's words as they are recognised and the agent's as they are played.

    Args:
        show: Gets `{"type": "said", "who": "caller" | "agent", "text": str, "final": bool}`. A
            caption that is not final is replaced by the same side's next one. If several providers
            spoke it, `voices` has their parts: `[{"provider": str, "words": str}]`.
        output: The name of the output processor; the agent's words are shown when it passes them
            on.
        voices: Whether to name the providers.
    """

    def __init__(
        self, *, show: Callable[[dict[str, Any]], None], output: str, voices: bool = True
    ) -> None:
        super().__init__(observe_every_push=True)
        self._show = show
        self._output = output
        self._names_voices = voices
        self._spoken = ""
        self._voices: list[dict[str, str]] = []
        self._kept = True  # the words become part of the assistant's context

    async def on_push_frame(self, data: FramePushed) -> None:
        """Show the caller's words, or the agent's that the output passes on.

        The agent's message in the conversation ends its caption. Other frames are ignored.
        """
        if data.direction is not FrameDirection.DOWNSTREAM:
            return
        match data.frame:
            case TTSTextFrame() as frame if data.source.name == self._output:
                if frame.append_to_context is not self._kept:
                    self._close_caption()
                    self._kept = frame.append_to_context
                self._add_word(frame)
                self._show_text("agent", self._spoken, final=False)
            case InterimTranscriptionFrame() as frame if data.first_push:
                self._show_text("caller", frame.text, final=False)
            case TranscriptionFrame() as frame if data.first_push:
                self._show_text("caller", frame.text, final=True)
            case LLMContextAssistantTurnFrame() as frame if data.first_push:
                if self._kept:
                    self._spoken = frame.text
                self._close_caption()
            case _:
                pass

    def notice(self, event: Event) -> None:
        """Show the call's own speech: a filler, a clip, the outage menu, a goodbye."""
        if isinstance(event, AgentSaid) and event.by:
            caption = _caption_message("agent", event.text, final=True)
            if self._names_voices:
                caption["voices"] = [{"provider": event.by, "words": event.text}]
            self._show(caption)

    def _close_caption(self) -> None:
        """Show the agent's words so far as final, and begin another caption."""
        self._show_text("agent", self._spoken, final=True)
        self._spoken, self._voices = "", []

    def _add_word(self, frame: TTSTextFrame) -> None:
        """Add a word to the caption, and to the part of the provider that spoke it."""
        spaced = frame.includes_inter_frame_spaces
        self._spoken = join_speech(self._spoken, frame.text, spaced=spaced)
        last_provider = self._voices[-1]["provider"] if self._voices else ""
        provider = frame.metadata.get(RUNG) or last_provider
        if not self._voices or last_provider != provider:
            self._voices.append({"provider": provider, "words": ""})
        last = self._voices[-1]
        last["words"] = join_speech(last["words"], frame.text, spaced=spaced)

    def _show_text(self, who: str, text: str, *, final: bool) -> None:
        """Show a caption, unless it is blank; name the providers if there are several."""
        if not text.strip():
            return
        caption = _caption_message(who, text, final=final)
        if who == "agent" and len(self._voices) > 1 and self._names_voices:
            caption["voices"] = [dict(voice) for voice in self._voices]
        self._show(caption)


def _caption_message(who: str, text: str, *, final: bool) -> dict[str, Any]:
    """Return the message for the caller's screen that shows words of one side."""
    return {"type": "said", "who": who, "text": text.strip(), "final": final}


def join_speech(before: str, more: str, *, spaced: bool = False) -> str:
    """Join two pieces of speech, with one space between them unless the second has its own."""
    if spaced:
        return f"{before}{more}".strip()
    return f"{before.rstrip()} {more.lstrip()}".strip()
