"""One piece of speech on the voices' agenda: a reply's sentences, or something said beside."""

import uuid
from dataclasses import dataclass, field

from pipecat.frames.frames import TTSSpeakFrame

from fallbacks.deadline import Deadline
from processors.tts_work import TtsWork


@dataclass(slots=True, kw_only=True, eq=False)
class Utterance:
    """What the frames of a piece of speech say about it, and its work once it is under way.

    Attributes:
        append_to_context: The words become the assistant's.
        commits: The end of it closes the assistant's message: it is no part of a reply.
        interruptible: The caller may cut it short.
        begun: The line has got something of it.
    """

    append_to_context: bool = True
    commits: bool = False
    interruptible: bool = True
    begun: bool = False
    context_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    work: TtsWork | None = None
    _waiting: list[str] = field(default_factory=list[str])
    _closed: bool = False

    @classmethod
    def of(cls, frame: TTSSpeakFrame, *, in_reply: bool) -> "Utterance":
        """Return the utterance that a frame asks for."""
        return cls(
            append_to_context=frame.append_to_context,
            commits=frame.append_to_context and not in_reply,
            interruptible=frame.interruptible,
        )

    @property
    def accepts(self) -> bool:
        """Whether more text may be said in it."""
        return self.work.accepts if self.work else not self._closed

    def begin(self, work: TtsWork, until: Deadline, now: float) -> None:
        """Bring it under way with what there is to say so far."""
        self.work = work
        work.start(" ".join(self._waiting), until, now=now)
        if self._closed:
            work.close(now)

    def say(self, text: str, now: float) -> None:
        """Add text."""
        if self.work:
            self.work.hand_over(text, now)
        else:
            self._waiting.append(text)

    def close(self, now: float) -> None:
        """Note that nothing follows."""
        self._closed = True
        if self.work:
            self.work.close(now)
