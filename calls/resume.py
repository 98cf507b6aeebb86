"""Continues a call in another process after its process has died, or its line was lost.

The resume state contains the conversation so far. The next process first says that it is back. Then
it continues with one of these:

- It answers words of the caller that have no answer; if it has none, it asks the caller to repeat.
- If an answer was completely written, it says the words that the caller has not heard.
- If an answer was still being written, it asks the model to continue after the heard words.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol, cast

from calls.caller import without_halves
from fallbacks.word_times import UNIT, sayable

RETURN_S: Final = 30.0  # after the loss of a line; a caller who returns later starts a new call
# How long a state is kept after a process's last report: time to notice that a worker hangs, and to
# start another one.
RESUMABLE_S: Final = 60.0
UNSAVED_ENTRIES: Final = 100  # those that a lost process may have made after its last save (chosen)
MOMENTS: Final = ("began_at", "kept_at", "sensitive_until")  # fields on the monotonic clock
IN_PROGRESS: Final = "IN_PROGRESS"  # Pipecat's placeholder for a pending tool result
CUT_OFF: Final = {
    "error": "The connection broke while this was being done. It may have been done: do not do it "
    "again. Tell the caller that it is not certain yet."
}
"""The result that the model gets for a tool whose outcome is unknown."""
CUT_SHORT: Final = (
    "The line was cut while the caller was speaking: some of their last words may be missing. If "
    "you cannot tell what they want, ask them to say it again."
)
GO_ON: Final = (
    "The line was cut while you were speaking. The caller heard your last message only as far as "
    "it is shown here. Go on from there, and repeat nothing."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTool:
    """A tool that was called in the conversation."""

    key: str  # equal for equal requests
    turn: int
    result: Mapping[str, Any] | None = None  # `None` while the tool is running
    delivered: bool = False  # whether the model has got the result
    call_id: str = ""  # the model's id of the call; two calls may be equal


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeState:
    """The state of a call that is kept outside its process, as plain values.

    Attributes:
        call_id: The call's id in the record.
        began_at: When the call began, on the machine's monotonic clock.
        kept_at: When the state was stored, on the same clock.
        entries: The number of entries published so far.
        turn: The number of the latest decided turn.
        language: The language of the voices.
        voice: The TTS rung that was heard last; `None` if none was.
        messages: The conversation as the caller heard it.
        words: Words of the caller that are not in the conversation yet.
        caller_speaking: Whether the caller's turn was open: words may be missing.
        said: The agent's words since the caller last spoke, whether they were heard or not.
        heard: All words that were heard since then.
        partial: The end of `heard`, which is not in a message yet.
        written: Whether `said` is complete.
        tools: Tool requests that must not be repeated.
        verdict: The verdict on the call so far.
        sensitive_until: When the open sensitive section ends, on the same clock; 0 without one.
        sensitive_said: The words said in sensitive sections.
        under_way: What else was not finished, by its part of the call: the opening, the end, a
            transfer, keys, the outage menu, callbacks; also an opt-out and a callback that are
            done, for the reports of the call.
        moved: Whether the call was moved on purpose: the caller must not notice.
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
    caller_speaking: bool = False
    said: str = ""
    heard: str = ""
    partial: str = ""
    written: bool = True
    tools: Sequence[KeptTool] = ()
    verdict: str = ""
    sensitive_until: float = 0.0
    sensitive_said: Sequence[str] = field(default_factory=list[str])
    under_way: Mapping[str, Any] = field(default_factory=dict[str, Any])
    moved: bool = False


class ResumePlace(Protocol):
    """Stores one call's resume state until the call has ended.

    Attributes:
        state: The state that was stored when the call arrived; `None` for a new call.
        is_on_one_machine: Whether no other machine could go on with the call: it began here while
            the machines' store was away.
        is_here_only: Whether the latest state is, or may be, on this machine only.
    """

    state: ResumeState | None
    is_on_one_machine: bool
    is_here_only: bool

    async def keep(self, state: ResumeState, *, last: bool = False) -> bool:
        """Store a state in place of the previous one; after the `last` one, store nothing more.

        Waits for a state that is being stored. Returns False if another process has the call.
        """
        ...

    async def is_ours(self, *, otherwise: bool = True) -> bool:
        """Return whether no other process has taken the call up.

        Args:
            otherwise: The result if that is not known, because the store does not answer.
        """
        ...

    async def wait_for_store(self, *, within_s: float) -> None:
        """Wait until it is known whose the call is, or until that has taken too long."""
        ...

    async def wait_until_taken(self) -> None:
        """Return once we learn that another process has taken the call up."""
        ...

    async def wait_for_return(self) -> bool:
        """Wait for a caller whose line was lost; return whether the call was resumed."""
        ...

    async def forget(self) -> bool:
        """Delete the stored state; return False if it is that of another process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSpeech:
    """Speech that the caller interrupted."""

    text: str  # all of it, whether it was heard or not
    # The number of messages when it began; `None` if it follows a sentence that still plays.
    since: int | None
    written: bool  # whether the text is complete


class SpeechSinceInterruption:
    """The agent's words since the last interruption, whether they were heard or not.

    Attributes:
        text: The words.
        since: The number of messages in the conversation when they began.
        length: Returns the current number of messages.
        cut: The speech that the latest interruption cut off; `None` if there was none.
    """

    def __init__(self) -> None:
        self.text = ""
        self.since = 0
        self.length: Callable[[], int] = lambda: 0
        self.cut: CutSpeech | None = None
        # The words after the latest protected sentence; `None` if there is no such sentence.
        self._after_protected: str | None = None

    def add(self, words: str, *, protected: bool = False) -> None:
        """Add words that become part of the conversation when they are heard.

        Args:
            words: The words; empty if they do not become part of the conversation.
            protected: Whether they cannot be interrupted.
        """
        if not self.text:
            self.since = self.length()
        self.text = f"{self.text} {words}".strip()
        if protected:
            self._after_protected = ""
        elif self._after_protected is not None:
            self._after_protected = f"{self._after_protected} {words}".strip()

    def interrupted(self, *, written: bool, protected: bool) -> None:
        """Forget the words, but keep them in `cut` in case the caller only made a sound.

        `cut` is `None` if there were none; an earlier cut is forgotten in any case.

        Args:
            written: Whether the reply was complete.
            protected: Whether a sentence that cannot be interrupted continues; then only the words
                after it are dropped.
        """
        text, since = self.text, self.since
        if protected and self._after_protected is not None:
            text, since = self._after_protected, None
        self.cut = CutSpeech(text=text, since=since, written=written) if text else None
        self.text, self._after_protected = "", "" if protected else None


class Next(Enum):
    """What the agent does after saying that it is back."""

    LISTEN = "listen"
    SAY = "say"  # say the rest of an answer
    ASK = "ask"  # ask the model
    REPEAT = "repeat"  # ask the caller to repeat


def next_step(state: ResumeState) -> tuple[Next, str]:
    """Return the next step, and the words to say if it is `SAY`; else they are empty."""
    rest = unheard(state.said, state.heard)
    if state.words:
        return Next.ASK, ""
    if rest and state.written:
        return Next.SAY, rest
    if rest or not state.written:
        return Next.ASK, ""
    roles = [message.get("role") for message in state.messages]
    last_role = next((role for role in reversed(roles) if role != "system"), None)
    if last_role in ("user", "tool"):
        return Next.ASK, ""
    return (Next.REPEAT if state.caller_speaking else Next.LISTEN), ""


def conversation(state: ResumeState) -> list[dict[str, Any]]:
    """Return the conversation to continue with, as the caller heard it; the state stays as it is.

    Pending tool results are completed, and notes tell the model what was cut off.
    """
    messages = [_complete_result(message, state) for message in state.messages]
    if state.partial:
        messages.append({"role": "assistant", "content": state.partial})
    spoke = bool(messages) and messages[-1].get("role") == "assistant"
    if spoke and not state.written and not state.words:
        messages.append({"role": "system", "content": GO_ON})
    if state.caller_speaking:
        messages.append({"role": "system", "content": CUT_SHORT})
    if state.words and not _ends_with(messages, state.words):
        messages.append({"role": "user", "content": state.words})
    return messages


def _ends_with(messages: Sequence[Mapping[str, Any]], words: str) -> bool:
    """Return whether the conversation ends with these words of the caller."""
    spoken = [item for item in messages if item.get("role") != "system"]
    return bool(
        spoken and spoken[-1].get("role") == "user" and str(spoken[-1]["content"]).endswith(words)
    )


def unheard(said: str, heard: str) -> str:
    """Return the agent's words from the first one that was not heard; empty if all were.

    `heard` may contain other words, such as a filler.
    """
    pieces = list(UNIT.finditer(said))
    next_piece = 0  # the first one that was not heard
    for word in (sayable(piece) for piece in UNIT.findall(heard)):
        while next_piece < len(pieces) and not sayable(pieces[next_piece][0]):
            next_piece += 1  # a dash, for example, is not spoken
        if next_piece < len(pieces) and word == sayable(pieces[next_piece][0]):
            next_piece += 1
    rest = said[pieces[next_piece].start() :] if next_piece < len(pieces) else ""
    return rest if sayable(rest) else ""


def without_last(text: str, words: int) -> str:
    """Return a text without its last `words` words; empty if it has no more than those."""
    pieces = list(UNIT.finditer(text))
    return text[: pieces[-words - 1].end()] if words < len(pieces) else ""


def tool_key(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a key that is equal for equal tool requests.

    The model that repeats a request may be another one. Some write null for a default, or `2.0`.
    """
    return f"{name} {json.dumps(_without_nulls(arguments), sort_keys=True)}"


def _without_nulls(value: Any) -> Any:
    """Return a JSON value without nulls in objects, and with whole numbers as integers."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value).items()
        return {key: _without_nulls(item) for key, item in pairs if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in cast("list[Any]", value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _complete_result(message: Mapping[str, Any], state: ResumeState) -> dict[str, Any]:
    """Return a message; a pending tool result is replaced by the stored one, or by `CUT_OFF`."""
    if message.get("role") != "tool" or message.get("content") != IN_PROGRESS:
        return dict(message)
    call_id = message.get("tool_call_id")
    key = _key_of_call(state.messages, call_id)
    equal = [tool for tool in state.tools if tool.key == key]
    same = [tool for tool in equal if tool.call_id == call_id] or equal
    result = same[0].result if same else None
    return {**message, "content": without_halves(json.dumps(result or CUT_OFF))}


def _key_of_call(messages: Sequence[Mapping[str, Any]], tool_call_id: Any) -> str:
    """Return the key of a tool call; empty if there is none, or its arguments are not JSON."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            if call["id"] == tool_call_id:
                function = call["function"]
                try:
                    arguments = json.loads(function["arguments"] or "{}")
                except ValueError:  # the arguments are not JSON, so the tool never started
                    return ""
                return tool_key(function["name"], arguments)
    return ""
