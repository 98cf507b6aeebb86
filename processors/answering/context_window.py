"""Makes sure that no request to the language model is longer than the context window."""

from collections.abc import Mapping
from typing import Any, Final, cast

from pipecat.frames.frames import Frame, LLMContextFrame, LLMSummarizeContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage, is_given
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from calls.entry import Tell
from calls.events import ContextShortened
from processors.answering.window_rules import Fitted, estimate, fit

SUMMARISE_AT: Final = 0.7  # of the window: early enough that a cut is seldom needed meanwhile
SUMMARY_KEEPS: Final = 6  # newest messages that a summary leaves alone: about three turns
SUMMARY_WORTH: Final = 4  # fewer messages are not worth a summary


class ContextWindow(FrameProcessor):
    """Cuts requests to the window; one stands on either side of the language model.

    A request comes from above after the caller's turn, and from below after a tool's result. The
    shared context stays whole: the model is handed a shorter copy. Otherwise a cut while a
    summary is being written would make that summary replace the wrong messages.
    """

    def __init__(self, *, limit_tokens: int, tell: Tell) -> None:
        super().__init__()
        self._limit_tokens = limit_tokens
        self._tell = tell

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Shorten a request that is too long; pass everything on."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        grown = self._grown(frame.context)
        frame.context = self._fit(frame.context)
        await self.push_frame(frame, direction)
        if grown and direction is FrameDirection.DOWNSTREAM:
            await self.push_frame(LLMSummarizeContextFrame())  # travels behind the answer's speech

    def _grown(self, context: LLMContext) -> bool:
        """Return whether there is enough to summarise, and reason to."""
        messages = [each for each in context.messages if isinstance(each, Mapping)]
        said = [each for each in messages if each.get("role") != "system"]
        fixed = sum(map(estimate, messages)) - sum(map(estimate, said)) + _tool_tokens(context)
        room = max(0, self._limit_tokens - fixed)
        enough = len(said) >= SUMMARY_KEEPS + SUMMARY_WORTH
        return enough and sum(map(estimate, said)) >= room * SUMMARISE_AT

    def _fit(self, context: LLMContext) -> LLMContext:
        shorter, fitted = fit_context(context, self._limit_tokens)
        if fitted.shortened:
            self._tell(
                ContextShortened(
                    how="truncated",
                    tokens_before=fitted.tokens_before,
                    tokens_after=fitted.tokens_after,
                )
            )
        return shorter


def fit_context(context: LLMContext, limit_tokens: int) -> tuple[LLMContext, Fitted]:
    """Return a context as it may be sent, the same one if it is short enough, and what was cut."""
    messages = [
        cast("Mapping[str, Any]", each)
        for each in context.messages
        if isinstance(each, Mapping)  # what is not, only another vendor's model understands
    ]
    fitted = fit(messages, limit_tokens - _tool_tokens(context))
    if not fitted.shortened:
        return context, fitted
    kept = cast("list[LLMContextMessage]", list(fitted.messages))
    return LLMContext(messages=kept, tools=context.tools, tool_choice=context.tool_choice), fitted


def _tool_tokens(context: LLMContext) -> int:
    """Return what the tools' descriptions take of the window: they are sent with each request."""
    if not is_given(context.tools):
        return 0
    return sum(
        estimate({"content": str(tool.to_default_dict())}) for tool in context.tools.standard_tools
    )
