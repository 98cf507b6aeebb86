"""The conversation, and the limit on the length of LLM requests."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pipecat.frames.frames import Frame, LLMContextFrame, LLMSummarizeContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage, is_given
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from calls.entry import Emit
from calls.events import ContextShortened
from processors.answering.window_rules import Fitted, estimate, fit

UNNOTICED_S: Final = 0.1  # the caller does not notice so short a sound (chosen)


class Memory(LLMContext):
    """A context in which all that a caller says before hearing an answer is one message.

    A turn may be decided in a pause. If the caller resumes before hearing anything, the answer is
    dropped, and the new words are appended to the earlier ones.

    Attributes:
        tokens_before: The length before the last replacement of messages by a summary; 0 without
            one.
    """

    def __init__(self, *, heard_s: Callable[[], float]) -> None:
        """Create an empty context.

        Args:
            heard_s: Returns how much of our audio the caller has heard so far, in seconds.
        """
        super().__init__(messages=[])
        self.tokens_before = 0
        self._heard_s = heard_s
        self._words = ""  # the caller's latest words
        self._said: LLMContextMessage | None = None  # the message with these words
        self._said_at_s = 0.0  # how much of our audio the caller had heard by then

    @property
    def tokens(self) -> int:
        """The length in tokens."""
        return sum(estimate(message) for message in self.messages if isinstance(message, dict))

    @property
    def unanswered(self) -> bool:
        """Whether it ends with the caller's words or a tool's result, so that the model is next."""
        roles = (
            message.get("role") for message in reversed(self.messages) if isinstance(message, dict)
        )
        last = next((role for role in roles if role != "system"), None)
        return last in ("user", "tool")

    @property
    def last_said(self) -> str:
        """The agent's latest words; empty before the first."""
        for message in reversed(self.messages):
            if isinstance(message, dict) and message.get("role") == "assistant":
                words = message.get("content")
                if isinstance(words, str):
                    return words
        return ""

    def with_words(self, words: str) -> list[LLMContextMessage]:
        """Return the messages as they would be after these words of the caller.

        The context itself stays as it is.
        """
        messages = self.messages
        if self._goes_on():
            messages, words = messages[:-1], f"{self._words} {words}"
        return [*messages, cast("LLMContextMessage", {"role": "user", "content": words})]

    def add_message(self, message: LLMContextMessage) -> None:
        """Append a message.

        The caller's words are joined to the last message if no answer came between.
        """
        match message:
            case {"role": "user", "content": str(words)}:
                messages = self.with_words(words)
                self._words = f"{self._words} {words}" if self._goes_on() else words
                self._messages[:] = messages
                self._said, self._said_at_s = messages[-1], self._heard_s()
            case _:
                super().add_message(message)

    def set_messages(self, messages: list[LLMContextMessage]) -> None:
        """Replace the messages, as a summary does, and record the length before."""
        self.tokens_before = self.tokens
        super().set_messages(messages)

    def _goes_on(self) -> bool:
        """Return whether new words belong to the caller's last message."""
        unanswered = bool(self.messages) and self.messages[-1] is self._said
        return unanswered and self._heard_s() - self._said_at_s <= UNNOTICED_S


SUMMARISE_AT: Final = 0.7  # of the window; early enough that a cut is rarely needed before it
SUMMARY_KEEPS: Final = 6  # newest messages that are not summarised: about three turns
SUMMARY_WORTH: Final = 4  # the least number of messages to summarise


class ContextWindow(FrameProcessor):
    """Cuts requests to the window; there is one instance above and one below the LLM stage.

    A request comes from above after the caller's turn, and from below after a tool's result. The
    model gets a shortened copy, and the shared context stays complete. If the context itself were
    cut while a summary is being written, the summary would replace the wrong messages.
    """

    def __init__(self, *, limit_tokens: int, emit: Emit) -> None:
        super().__init__()
        self._limit_tokens = limit_tokens
        self._emit = emit

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass each frame on; a request for an answer is first cut to the window.

        After a request that goes down to the model and is nearly too long, ask for a summary of the
        conversation.
        """
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        needs_summary = self._needs_summary(frame.context)  # before it is cut
        frame.context = self._cut_and_report(frame.context)
        await self.push_frame(frame, direction)
        if needs_summary and direction is FrameDirection.DOWNSTREAM:
            await self.push_frame(LLMSummarizeContextFrame())  # handled after the answer's speech

    def _needs_summary(self, context: LLMContext) -> bool:
        """Return whether the conversation has enough messages, and is too long, for going on whole.

        It is too long from `SUMMARISE_AT` of the room that instructions and tools leave.
        """
        messages = [message for message in context.messages if isinstance(message, Mapping)]
        conversation = [message for message in messages if message.get("role") != "system"]
        fixed = (
            sum(map(estimate, messages)) - sum(map(estimate, conversation)) + _tool_tokens(context)
        )
        room = max(0, self._limit_tokens - fixed)
        enough = len(conversation) >= SUMMARY_KEEPS + SUMMARY_WORTH
        return enough and sum(map(estimate, conversation)) >= room * SUMMARISE_AT

    def _cut_and_report(self, context: LLMContext) -> LLMContext:
        """Return the context, cut to the window if it is too long; then emit `ContextShortened`."""
        shorter, fitted = fit_context(context, self._limit_tokens)
        if fitted.shortened:
            self._emit(
                ContextShortened(
                    how="truncated",
                    tokens_before=fitted.tokens_before,
                    tokens_after=fitted.tokens_after,
                )
            )
        return shorter


def fit_context(context: LLMContext, limit_tokens: int) -> tuple[LLMContext, Fitted]:
    """Return the context, cut to `limit_tokens` if it is longer, and how it was cut.

    The given context is not changed. A cut copy lacks messages that are specific to one vendor.
    """
    messages = [
        cast("Mapping[str, Any]", message)
        for message in context.messages
        if isinstance(message, Mapping)  # others are specific to another vendor's model
    ]
    fitted = fit(messages, limit_tokens - _tool_tokens(context))
    if not fitted.shortened:
        return context, fitted
    kept = cast("list[LLMContextMessage]", list(fitted.messages))
    return LLMContext(messages=kept, tools=context.tools, tool_choice=context.tool_choice), fitted


def _tool_tokens(context: LLMContext) -> int:
    """Return the tokens of the tools' descriptions, which are sent with each request."""
    if not is_given(context.tools):
        return 0
    return sum(
        estimate({"content": str(tool.to_default_dict())}) for tool in context.tools.standard_tools
    )
