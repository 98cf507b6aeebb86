"""What the model is told of the conversation so far."""

from collections.abc import Callable
from typing import Final, cast

from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage

from processors.answering.window_rules import estimate

UNNOTICED_S: Final = 0.1  # chosen: a sound so short says nothing


class Memory(LLMContext):
    """A context in which what a caller says at one go is one message.

    A turn may be decided in a pause of theirs. If they speak on before they have heard anything,
    the answer is dropped, and what follows is put behind the words that it belongs to.

    Attributes:
        tokens_before: How long it was before a summary replaced its messages; 0: none has.
    """

    def __init__(self, *, heard_s: Callable[[], float]) -> None:
        """Begin without a message.

        Args:
            heard_s: How much of us the caller has heard so far, in seconds.
        """
        super().__init__(messages=[])
        self.tokens_before = 0
        self._heard_s = heard_s
        self._words = ""  # the caller's latest
        self._said: LLMContextMessage | None = None  # the message that holds them
        self._said_at_s = 0.0  # of what they have heard

    @property
    def tokens(self) -> int:
        """How long it is."""
        return sum(estimate(each) for each in self.messages if isinstance(each, dict))

    @property
    def unanswered(self) -> bool:
        """Whether it ends with words of the caller's or a tool's result: the model is to speak."""
        roles = (each.get("role") for each in reversed(self.messages) if isinstance(each, dict))
        last = next((each for each in roles if each != "system"), None)  # it may come at any time
        return last in ("user", "tool")

    def with_words(self, words: str) -> list[LLMContextMessage]:
        """Return the messages as they are when the caller has said this, too."""
        messages = self.messages
        if self._goes_on():
            messages, words = messages[:-1], f"{self._words} {words}"
        return [*messages, cast("LLMContextMessage", {"role": "user", "content": words})]

    def add_message(self, message: LLMContextMessage) -> None:
        """Put a message behind the others; the caller's words perhaps into the last one."""
        match message:
            case {"role": "user", "content": str(words)}:
                messages = self.with_words(words)
                self._words = f"{self._words} {words}" if self._goes_on() else words
                self._messages[:] = messages
                self._said, self._said_at_s = messages[-1], self._heard_s()
            case _:
                super().add_message(message)

    def set_messages(self, messages: list[LLMContextMessage]) -> None:
        """Replace the messages, as a summary does."""
        self.tokens_before = self.tokens
        super().set_messages(messages)

    def _goes_on(self) -> bool:
        """Say whether words that come now belong to the latest ones."""
        unanswered = bool(self.messages) and self.messages[-1] is self._said
        return unanswered and self._heard_s() - self._said_at_s <= UNNOTICED_S
