"""Continues a call in another process after its own has died, or its line was lost.

The resume state holds what was said before. The next process first says that it is back. Then:

- caller words without an answer are answered;
- of a completely written answer, the unheard words are said;
- an answer that was still being written is requested again, from what the caller heard of it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from calls.caller import without_halves
from fallbacks.word_times import UNIT, sayable

RETURN_S: Final = 30.0  # a caller whose line was lost and who returns later starts a new call
# After a process's last report: time to notice that a worker hangs, and to start another.
KEPT_S: Final = 60.0
MAX_BYTES: Final = 64 * 1024  # three times a long conversation (chosen)
IN_PROGRESS: Final = "IN_PROGRESS"  # Pipecat's placeholder for a pending tool result
CUT_OFF: Final = {
    "error": "The connection broke while this was being done. It may have been done: do not do it "
    "again. Emit the caller that it is not certain yet."
}
"""The result that the model gets for a tool whose outcome is unknown."""
GO_ON: Final = (
    "The line was cut while you were speaking. The caller heard your last message as far as it "
    "stands here. Go on from there, and repeat nothing."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTool:
    """A tool that was called in the conversation."""

    key: str  # the same for the same request
    turn: int
    result: Mapping[str, Any] | None = None  # `None` while it was running
    delivered: bool = False  # the model has read the result


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeState:
    """The state of a call that is kept outside its process; plain values.

    Attributes:
        call_id: Its id in the record.
        began_at: On the machine's monotonic clock.
        kept_at: When the state was taken, on the same clock.
        entries: The number of entries published so far.
        turn: Number of the latest decided turn.
        language: Of the voices.
        voice: The rung that was heard last; `None` if none was.
        messages: The conversation as it was heard.
        words: Caller words that are not in the conversation yet.
        said: What was to be said since the caller last spoke, heard or not.
        heard: What was heard since then, in total.
        partial: The end of `heard`, which is not in a message yet.
        written: `said` is complete.
        tools: Requests that must not be repeated.
        verdict: On the call so far.
        sensitive_until: When the open sensitive section ends, on the same clock; 0 without one.
        sensitive_said: What was said in such sections.
    """

    call_id: str = ""
    began_at: float = 0.0
    kept_at: float = field(compare=False, default=0.0)
    entries: int = field(compare=False, default=0)
    turn: int = 0
    language: str = ""
    voice: str | None = None
    messages: Sequence[Mapping[str, Any]] = ()
    words: str = ""
    said: str = ""
    heard: str = ""
    partial: str = ""
    written: bool = True
    tools: Sequence[KeptTool] = ()
    verdict: str = ""
    sensitive_until: float = 0.0
    sensitive_said: Sequence[str] = field(default_factory=list[str])

    def as_json(self) -> dict[str, Any]:
        """Return plain values of bounded size: the oldest messages are dropped."""
        plain = asdict(self)
        plain["messages"] = _latest(plain["messages"], over=len(json.dumps(plain)) - MAX_BYTES)
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "ResumeState":
        """Return the state that `as_json` wrote."""
        values = dict(plain)
        values["tools"] = [KeptTool(**tool) for tool in plain["tools"]]
        return cls(**values)


class ResumePlace(Protocol):
    """The store of one call's resume state, until the call has ended.

    Attributes:
        state: The state found there when the call arrived; `None` for a new call.
    """

    state: ResumeState | None

    async def keep(self, state: ResumeState, *, last: bool = False) -> None:
        """Replace the stored state; after the last one nothing more is stored."""
        ...

    async def returned(self) -> bool:
        """Wait for the caller of a lost line; return whether the call was resumed."""
        ...

    async def forget(self) -> None:
        """Delete the stored state."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSpeech:
    """What was being said when the caller was heard."""

    text: str  # all of it, heard or not
    since: int | None  # the number of messages when it began; `None` if none of it was heard
    written: bool  # it was complete


class OwedWords:
    """What is to be said since the caller last interrupted, in conversation order.

    Attributes:
        text: All of it.
        since: The number of messages in the conversation when it began.
        length: Returns the current number of messages.
        cut: What the latest interruption cut off; `None` if nothing was being said.
    """

    def __init__(self) -> None:
        self.text = ""
        self.since = 0
        self.length: Callable[[], int] = lambda: 0
        self.cut: CutSpeech | None = None
        self._after: str | None = None  # the latest protected sentence; `None` without one

    def add(self, words: str, *, protected: bool = False) -> None:
        """Add words that are remembered once they are heard.

        Args:
            words: Empty if they are not remembered.
            protected: The caller cannot cut them short.
        """
        if not self.text:
            self.since = self.length()
        self.text = f"{self.text} {words}".strip()
        if protected:
            self._after = ""
        elif self._after is not None:
            self._after = f"{self._after} {words}".strip()

    def interrupted(self, *, written: bool, protected: bool) -> None:
        """Drop what is left, and remember it in case the caller only made a sound.

        Args:
            written: The reply was complete.
            protected: A sentence that cannot be interrupted goes on, and what follows is dropped.
        """
        text, since = self.text, self.since
        if protected and self._after is not None:
            text, since = self._after, None
        self.cut = CutSpeech(text=text, since=since, written=written) if text else None
        self.text, self._after = "", "" if protected else None


class Next(Enum):
    """What the agent does after saying that it is back."""

    LISTEN = "listen"
    SAY = "say"  # the rest of an answer
    ASK = "ask"  # the model


def next_step(state: ResumeState) -> tuple[Next, str]:
    """Return the next step, and the words to say."""
    rest = unheard(state.said, state.heard)
    if state.words:
        return Next.ASK, ""
    if rest and state.written:
        return Next.SAY, rest
    if rest or not state.written:
        return Next.ASK, ""
    roles = [role for message in state.messages if (role := message.get("role")) != "system"]
    return (Next.ASK if roles[-1:] in (["user"], ["tool"]) else Next.LISTEN), ""


def conversation(state: ResumeState) -> list[dict[str, Any]]:
    """Return the conversation to go on with, as it was heard."""
    messages = [_settled(message, state) for message in state.messages]
    if state.partial:
        messages.append({"role": "assistant", "content": state.partial})
    spoke = bool(messages) and messages[-1].get("role") == "assistant"
    if spoke and not state.written and not state.words:
        messages.append({"role": "system", "content": GO_ON})
    if state.words:
        messages.append({"role": "user", "content": state.words})
    return messages


def unheard(said: str, heard: str) -> str:
    """Return the rest of what was to be said, from the first unheard word.

    Other words, such as a filler, may have been heard in between.
    """
    pieces = list(UNIT.finditer(said))
    at = 0
    for word in (sayable(piece) for piece in UNIT.findall(heard)):
        while at < len(pieces) and not sayable(pieces[at][0]):
            at += 1
        if at < len(pieces) and word == sayable(pieces[at][0]):
            at += 1
    rest = said[pieces[at].start() :] if at < len(pieces) else ""
    return rest if sayable(rest) else ""


def without_last(text: str, words: int) -> str:
    """Return a text without its last `words` words, which may not have been heard."""
    pieces = list(UNIT.finditer(text))
    return text[: pieces[-words - 1].end()] if words < len(pieces) else ""


def tool_key(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a key that is equal for equal tool requests."""
    return f"{name} {json.dumps(arguments, sort_keys=True)}"


def _settled(message: Mapping[str, Any], state: ResumeState) -> dict[str, Any]:
    """Return a message with no pending tool result."""
    if message.get("role") != "tool" or message.get("content") != IN_PROGRESS:
        return dict(message)
    key = _asked(state.messages, message.get("tool_call_id"))
    result = next((tool.result for tool in state.tools if tool.key == key), None)
    return {**message, "content": without_halves(json.dumps(result or CUT_OFF))}


def _asked(messages: Sequence[Mapping[str, Any]], tool_call_id: Any) -> str:
    """Return the key of a tool's call in the conversation."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            if call["id"] == tool_call_id:
                function = call["function"]
                try:
                    arguments = json.loads(function["arguments"] or "{}")
                except ValueError:  # the model wrote no JSON: that tool never started
                    return ""
                return tool_key(function["name"], arguments)
    return ""


def _latest(messages: Sequence[Any], *, over: int) -> list[Any]:
    """Return messages without the oldest turns, shorter by `over` characters of JSON.

    The system message stays, and no tool result stays without its call.
    """
    first = begin = 1 if messages and messages[0].get("role") == "system" else 0
    while begin < len(messages) and (
        over > 0 or (begin > first and messages[begin].get("role") != "user")
    ):
        over -= len(json.dumps(messages[begin]))
        begin += 1
    return [*messages[:first], *messages[begin:]]
