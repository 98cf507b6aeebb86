"""Splits a resume state into parts, so that little is sent while only the position changes.

The first part is small, and sent twice a second: how far an answer was heard, and what else changes
often. The others are sent when they change: the answer, what changes seldom, the instructions, and
the conversation in blocks, of which only the last one changes. A process may die between two parts.
The small one is sent last and says how many messages there were, so a newer block does no harm.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import takewhile
from typing import Any, Final, cast

from calls.plain_values import from_plain
from calls.resume import ResumeState, unheard

VERSION: Final = 1  # of the stored values; a process of another version declines them
BLOCK_BYTES: Final = 2048  # of the conversation (chosen: some turns)
MAX_STATE_BYTES: Final = 4_000_000  # of all parts; a longer state is damaged or not ours
DEFAULTS: Final[Mapping[str, Any]] = {
    item.name: getattr(ResumeState(), item.name) for item in fields(ResumeState)
}
IN_PARTS: Final = ("messages", "tools", "said", "heard", "partial")
SELDOM: Final = ("call_id", "language", "voice", "verdict", "sensitive_said", "under_way")
# Of the messages that may be left out: three times the size of a long conversation (chosen).
CONVERSATION_BYTES: Final = 64 * 1024
DROP_BYTES: Final = 8 * 1024
MAX_PARTS: Final = 3 + 2 * CONVERSATION_BYTES // BLOCK_BYTES


class BadStateError(Exception):
    """A stored state cannot be used; the message says why."""


def split(state: ResumeState) -> tuple[dict[str, Any], list[Any]]:
    """Return the small part of a state, and the others in order; all are plain values.

    The oldest messages are left out (`latest`), and so are fields with their default. Words that
    are in `said` become positions. `join_parts` reads the result.
    """
    said, partial = state.said, state.partial
    kept = latest(state.messages)
    fixed = list(takewhile(_is_system, kept))
    messages = kept[len(fixed) :]
    blocks = _split_into_blocks(messages)
    small: dict[str, Any] = {
        "version": VERSION,
        "kept_at": round(state.kept_at, 3),
        "messages": len(messages),
        "parts": 3 + len(blocks),
    }
    seldom: dict[str, Any] = {"tools": [asdict(tool) for tool in state.tools]}
    for name, default in DEFAULTS.items():
        value = getattr(state, name)
        if name not in IN_PARTS and value != default:
            part = seldom if name in SELDOM else small
            part[name] = round(value, 3) if isinstance(default, float) else value
    if heard_to := len(said) - len(unheard(said, state.heard)) if state.heard else 0:
        small["heard_to"] = heard_to
    if partial:
        small["partial"] = _word_range(partial, said) or partial
    return small, [said, seldom, fixed, *blocks]


def latest(messages: Sequence[Any], *, most_bytes: int = CONVERSATION_BYTES) -> list[Any]:
    """Return messages without the oldest turns: at most `most_bytes` of JSON.

    The system messages at the beginning stay and do not count. A tool result is dropped with its
    call. At least `DROP_BYTES` are dropped, so that the rest begins at the same turn for a while.
    """
    roles = [message.get("role") for message in messages]
    kept_from = first = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
    over = len(json.dumps(messages[first:])) - most_bytes
    over = math.ceil(over / DROP_BYTES) * DROP_BYTES
    while kept_from < len(messages) and (
        over > 0 or (kept_from > first and messages[kept_from].get("role") != "user")
    ):
        over -= len(json.dumps(messages[kept_from]))
        kept_from += 1
    return [*messages[:first], *messages[kept_from:]]


def parts_of(small: Any) -> int:
    """Return how many other parts belong to a small one.

    Raises:
        BadStateError: It is of another version, or damaged.
    """
    found = cast("dict[str, Any]", small if isinstance(small, dict) else {})
    if found.get("version") != VERSION:
        raise BadStateError("it is of another version")
    count = found.get("parts")
    if not isinstance(count, int) or count > MAX_PARTS:
        raise BadStateError(f"it is damaged: {count!r:.50} parts")
    return count


def join_parts(small: Any, parts: Sequence[Any]) -> ResumeState:
    """Return the state of these parts.

    Raises:
        BadStateError: They are of another version, incomplete, too long or damaged.
    """
    if len(parts) != parts_of(small) or any(part is None for part in parts):
        raise BadStateError("it is incomplete")
    try:
        if len(json.dumps([small, parts])) > MAX_STATE_BYTES:
            raise BadStateError(f"it has more than {MAX_STATE_BYTES} bytes")
        return _state_from_parts(small, parts)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise BadStateError(f"it is damaged: {error}") from error


def _state_from_parts(small: Mapping[str, Any], parts: Sequence[Any]) -> ResumeState:
    """Return the state of these parts; raise some error of Python if they do not fit together."""
    said, seldom, fixed, *blocks = parts
    count = from_plain(int, small["messages"])
    messages = [message for block in blocks for message in block][:count]
    if len(messages) < count:
        raise ValueError("messages are missing")
    if not all(_is_message(message) for message in (*fixed, *messages)):
        raise ValueError("a message is incomplete")
    partial = small.get("partial", "")
    if isinstance(partial, list):
        begin, end = from_plain(Sequence[int], partial)
        partial = " ".join(said.split()[begin:end])
    given = {**small, **seldom}
    state = from_plain(
        ResumeState,
        {name: given[name] for name in DEFAULTS if name not in IN_PARTS and name in given}
        | {"messages": [*fixed, *messages], "tools": seldom["tools"], "said": said}
        | {"heard": said[: from_plain(int, small.get("heard_to", 0))], "partial": partial},
    )
    if state.began_at > state.kept_at:
        raise ValueError("it began after it was stored")
    return state


def _is_message(message: Mapping[str, Any]) -> bool:
    """Return whether a model takes a message; raise some error of Python if it has no role."""
    calls = message.get("tool_calls") or ()
    functions = [call["function"] for call in calls]
    texts = [call["id"] for call in calls]
    texts += [function[part] for function in functions for part in ("name", "arguments")]
    is_content = isinstance(message.get("content"), str | list | None)
    return is_content and all(isinstance(text, str) for text in (message["role"], *texts))


def _word_range(partial: str, said: str) -> list[int] | None:
    """Return the range of `partial` in the words of `said`, as begin and end; `None` if not there.

    `None` also if its white space would be lost.
    """
    words, wanted = said.split(), partial.split()
    for begin in range(len(words) - len(wanted) + 1):
        if words[begin : begin + len(wanted)] == wanted and " ".join(wanted) == partial:
            return [begin, begin + len(wanted)]
    return None


def _split_into_blocks(messages: Sequence[Any]) -> list[list[Any]]:
    """Split messages into blocks of at least `BLOCK_BYTES`; new ones change only the last block."""
    blocks: list[list[Any]] = []
    size = BLOCK_BYTES
    for message in messages:
        if size >= BLOCK_BYTES:
            blocks.append([])
            size = 0
        blocks[-1].append(message)
        size += len(json.dumps(message))
    return blocks


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "system"
