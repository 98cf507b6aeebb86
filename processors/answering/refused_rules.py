"""Decides which messages to leave out after every model refused a request.

A refusal does not tell which message caused it. The messages of a request that a model accepted did
not, so what came since then is left out. If the rest is refused as well, the whole conversation is
left out, because another rung may refuse what the first one accepted. What tools have done always
stays, without its details, so that no model does it again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from processors.answering.window_rules import Message, is_summary

REFUSED: Final = (
    "The caller's last message could not be processed and is left out here. In one short sentence, "
    "in the language of the call, ask them to say it in other words."
)
DONE: Final = (
    "The result of your last tool call could not be processed, so its details are withheld here. "
    "Do not call the tool again. In one short sentence, in the language of the call, tell the "
    "caller that it was done, and that you cannot tell the details."
)
WITHHELD: Final = '{"result": "done, details withheld: do not call it again for this"}'
FAILED: Final = '{"error": "it failed, details withheld"}'
PENDING: Final = frozenset({"IN_PROGRESS", "COMPLETED", "CANCELLED"})
"""Pipecat's own results of tool calls, which hold no content."""

Kept: TypeAlias = tuple[Message | None, ...]
"""For each message what is sent in its place; `None` if it is left out."""


class Accepted:
    """The messages of one call that were in an accepted request, as they were then.

    Attributes:
        in_vain: Whether leaving messages out did not help, so that they are not the cause.
        fits: For each rung that refused a request and accepted half of it, the length of that half
            in tokens: no later request to it is longer.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.in_vain = False
        self.fits: dict[str, int] = {}
        self._texts: dict[int, tuple[Message, str]] = {}  # by identity; holds the message, too

    def __contains__(self, message: Message) -> bool:
        """Return whether a model has accepted this message with its present content."""
        known = self._texts.get(id(message))
        return known is not None and known[1] == str(message)

    def __bool__(self) -> bool:
        """Return whether any request was accepted."""
        return bool(self._texts)

    def note(self, sent: Sequence[Message], conversation: Sequence[Message]) -> None:
        """Record an accepted request, and forget messages that left the conversation.

        Also clears `in_vain`, because something was accepted.

        Args:
            sent: The messages in the request.
            conversation: All messages of the call now; only these are recorded.
        """
        was_sent, self.in_vain = {id(message) for message in sent}, False
        self._texts = {
            id(message): (message, str(message))
            for message in conversation
            if id(message) in was_sent or message in self
        }


def ways_out(messages: Sequence[Message], accepted: Accepted) -> tuple[Kept, ...]:
    """Return what can be sent after refusals, each time with less than before.

    First, the turns since the last accepted request are left out, but not the agent's words before
    them; then those as well; then everything. In each result, `None` stands for a message that is
    left out.
    """
    fixed = [message["role"] == "system" for message in messages]
    users = [at for at, message in enumerate(messages) if message["role"] == "user"]
    settled = [
        fixed[at] or is_summary(message) or message in accepted
        for at, message in enumerate(messages)
    ]
    since = next((at for at in users if not settled[at]), len(messages))
    words = [
        known or (message["role"] == "assistant" and at < since)
        for at, (message, known) in enumerate(zip(messages, settled, strict=True))
    ]
    if not accepted:  # such as after a resume: the newest turn is the likeliest cause
        words = settled = [at < max(users, default=0) for at in range(len(messages))]
    ways = [tuple(messages)]
    for keeps in (words, settled, fixed):
        way = tuple(
            message if keep else _without_content(message, everything=keeps is fixed)
            for message, keep in zip(messages, keeps, strict=True)
        )
        ways += [way] if way != ways[-1] else []
    return tuple(ways[1:])


def note_for(messages: Sequence[Message], kept: Kept) -> str:
    """Return what the model is asked to say instead."""
    pairs = zip(messages, kept, strict=True)
    only_results = all(left is not None for _, left in pairs)
    return DONE if only_results else REFUSED


def _without_content(message: Message, *, everything: bool) -> Message | None:
    """Return what stays of a message: a tool call and that it has ended; `None` if nothing does."""
    if message["role"] == "developer" and not everything:  # such as a late result of a tool
        return {**message, "content": WITHHELD}
    if message["role"] == "tool":
        content = str(message.get("content"))
        if content in PENDING:
            return message
        return {**message, "content": FAILED if content.startswith('{"error"') else WITHHELD}
    if message["role"] != "assistant" or not message.get("tool_calls"):
        return None
    calls = [_without_arguments(call) if everything else call for call in message["tool_calls"]]
    return {"role": "assistant", "tool_calls": calls}


def _without_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call without its arguments."""
    return {**call, "function": {**call["function"], "arguments": "{}"}}
