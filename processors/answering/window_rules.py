"""Cuts a conversation to its window, if a summary did not make it short enough.

All system messages are kept, then the newest turn, the summary of older turns, and as many of the
other turns as fit, the newest first. A turn is a message of the caller and everything that follows
it, so a tool call never loses its results. If the newest turn alone is too long, its texts are
shortened and marked. If that is not enough, its older steps are removed. What then remains is sent
even if it exceeds the window.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

Message: TypeAlias = Mapping[str, Any]
"""One message as OpenAI's chat completions take it: `role`, `content`, `tool_calls`, …"""

CUT: Final = " […]"  # the mark at the end of a shortened text
SUMMARY: Final = "Summary of the call so far: "  # the beginning of the message for older turns

_PER_MESSAGE: Final = 4
"""Tokens around each message: OpenAI's cookbook ("How to count tokens") has 3, and 1 for a name."""
_ASCII_PER_TOKEN: Final = 4
"""Characters per token of English, by OpenAI's rule of thumb (help centre, "What are tokens")."""

LONG_TOKENS: Final = 512
"""Length from which a conversation may be what a server finds too long.

The smallest windows that servers are started with have 2,048 tokens; instructions, tools and the
answer rarely take more than three quarters of them. A shorter conversation is refused for another
reason.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A conversation as it may be sent."""

    messages: tuple[Message, ...]
    tokens_before: int
    tokens_after: int

    @property
    def shortened(self) -> bool:
        """Whether anything was cut."""
        return self.tokens_after < self.tokens_before


def estimate(message: Message) -> int:
    """Return an estimate of a message's tokens, without a tokeniser, which would need a download.

    Four ASCII characters count as one token, and so does each other character. For English, this is
    right within about a fifth; for other languages, it is too high.
    """
    return _PER_MESSAGE + sum(_estimated_tokens(text) for text in _texts_of(message))


def fit(messages: Sequence[Message], limit_tokens: int) -> Fitted:
    """Return the messages cut to `limit_tokens` as far as possible, unchanged if they fit."""
    before = sum(map(estimate, messages))
    if before <= limit_tokens:
        return Fitted(messages=tuple(messages), tokens_before=before, tokens_after=before)
    kept = _messages_that_fit(messages, limit_tokens)
    after = sum(map(estimate, kept))
    return Fitted(messages=tuple(kept), tokens_before=before, tokens_after=after)


def halved(messages: Sequence[Message]) -> Fitted | None:
    """Return the messages with half of the conversation; `None` if it is too short for that."""
    length = conversation_tokens(messages)
    return fit_conversation(messages, length // 2) if length >= LONG_TOKENS else None


def fit_conversation(messages: Sequence[Message], limit_tokens: int) -> Fitted:
    """Return the messages with at most so much conversation besides the instructions."""
    fixed = sum(map(estimate, messages)) - conversation_tokens(messages)
    return fit(messages, fixed + limit_tokens)


def conversation_tokens(messages: Sequence[Message]) -> int:
    """Return the length of what was said and done, without the instructions."""
    return sum(estimate(message) for message in messages if message["role"] != "system")


def _messages_that_fit(messages: Sequence[Message], limit_tokens: int) -> list[Message]:
    """Return the messages to keep: system, summary, the turns that fit, and the newest turn.

    The newest turn is always kept, shortened if necessary.
    """
    system = [message for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    summary = rest[:1] if rest and is_summary(rest[0]) else []
    turns = _split_turns(rest[len(summary) :])
    left = limit_tokens - sum(map(estimate, system))
    if not turns:
        return [*system, *_cut_texts(summary, left)]
    newest = _shorten_turn(turns[-1], left)
    left -= sum(map(estimate, newest))
    head = summary if sum(map(estimate, summary)) <= left else []
    left -= sum(map(estimate, head))
    return [*system, *head, *_newest_that_fit(turns[:-1], left), *newest]


def _newest_that_fit(turns: Sequence[list[Message]], left: int) -> list[Message]:
    """Return the messages of the newest turns that fit in `left` tokens, in their order."""
    kept: list[Message] = []
    for turn in reversed(turns):
        left -= sum(map(estimate, turn))
        if left < 0:
            break
        kept = [*turn, *kept]
    return kept


def _split_turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Split a conversation before each message of the caller."""
    return _split_before(messages, lambda message: message["role"] == "user")


def _split_steps(turn: Sequence[Message]) -> list[list[Message]]:
    """Split a turn into removable steps: a message, or tool calls with their results."""
    return _split_before(turn, lambda message: message["role"] != "tool")


def _split_before(
    messages: Sequence[Message], begins: Callable[[Message], bool]
) -> list[list[Message]]:
    """Split a list before each message for which `begins` is true."""
    starts = [at for at, message in enumerate(messages) if at == 0 or begins(message)]
    return [list(messages[a:b]) for a, b in pairwise([*starts, len(messages)])]


def _shorten_turn(turn: list[Message], left: int) -> list[Message]:
    """Return a turn's messages, shortened to `left` tokens: first the texts, then the older steps.

    The result may be longer if even one step does not fit.
    """
    steps = _split_steps(turn)
    while True:
        flat = [item for step in steps for item in step]
        short = _cut_texts(flat, left)
        if sum(map(estimate, short)) <= left or len(steps) <= 1:
            return short
        steps.pop(1)  # the oldest step after the caller's words, which open the turn


def _cut_texts(messages: Sequence[Message], left: int) -> list[Message]:
    """Cut all texts to the same length, the greatest that fits; shorter texts stay."""
    low, high = 0, max((len(_content_text(message)) for message in messages), default=0)
    if sum(map(estimate, messages)) <= left:
        return list(messages)
    while low < high:  # find the greatest `low` that fits
        middle = (low + high + 1) // 2
        if sum(estimate(_cut_text(message, middle)) for message in messages) <= left:
            low = middle
        else:
            high = middle - 1
    return [_cut_text(message, low) for message in messages]


def _cut_text(message: Message, characters: int) -> Message:
    """Return a message with its text cut to a length; the same message if that is not shorter."""
    content = _content_text(message)
    if len(content) <= characters + len(CUT):  # cutting would not make it shorter
        return message
    return {**message, "content": content[:characters].rstrip() + CUT}


def is_summary(message: Message) -> bool:
    """Return whether a message stands for older turns."""
    return message["role"] == "user" and _content_text(message).startswith(SUMMARY)


def _content_text(message: Message) -> str:
    """Return a message's content as text; empty without content."""
    content = message.get("content")
    return content if isinstance(content, str) else "" if content is None else str(content)


def _texts_of(message: Message) -> list[str]:
    """Return all texts of a message: its content, and the names and arguments of its tool calls."""
    calls = [item.get("function", {}) for item in message.get("tool_calls") or ()]
    named = [str(call.get(key, "")) for call in calls for key in ("name", "arguments")]
    return [_content_text(message), *named]


def _estimated_tokens(text: str) -> int:
    """Return an estimate of a text's tokens; each character that is not ASCII counts as one."""
    ascii_characters = sum(item.isascii() for item in text)
    return -(-ascii_characters // _ASCII_PER_TOKEN) + len(text) - ascii_characters
