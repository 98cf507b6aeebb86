"""What the answers of a call will be billed: told by the provider, or else by our own count."""

from collections.abc import Iterable, Mapping
from typing import Final

from openai.types import CompletionUsage
from pipecat.processors.aggregators.llm_context import LLMContext

from calls.entry import Tell
from calls.events import UsageMeasured
from calls.turn import Turn
from processors.answering.model_answer import ModelAnswer
from processors.answering.model_stream import Billed, Model
from processors.answering.prepared_answer import PreparedAnswer

TOKEN_CHARACTERS: Final = 4  # of English; help.openai.com, "What are tokens"


class AnswerBill:
    """Tells what each request costs, once."""

    def __init__(self, models: Mapping[str, Model], *, turn: Turn, tell: Tell) -> None:
        """Prepare.

        Args:
            models: The rungs, by name.
            turn: The turn in progress.
            tell: Takes the facts.
        """
        self._models = models
        self._turn = turn
        self._tell = tell
        self._prompt_tokens = 0  # of the latest answer that told its own

    def tell(self, answer: ModelAnswer, *, turn: int) -> None:
        """Tell what each request for an answer costs, as far as it came."""
        self._tell_each(answer.billed(), answer.context, turn=turn)

    def tell_estimated(self, provider: str, *, asked: str, answered: str) -> None:
        """Tell what an answer in one piece will be billed, which comes without its usage."""
        self._estimate(
            provider,
            prompt_tokens=len(asked) // TOKEN_CHARACTERS,
            completion_tokens=len(answered) // TOKEN_CHARACTERS,
            turn=self._turn.number,
        )

    def tell_dropped(self, prepared: PreparedAnswer, turn: int) -> None:
        """Tell what an early answer costs that nobody took, and that may be under way."""
        requests = prepared.answer.billed(unanswered=True)
        self._tell_each(requests, prepared.context, turn=turn)

    def _tell_each(self, requests: Iterable[Billed], context: LLMContext, *, turn: int) -> None:
        """Tell what providers counted, then what nobody told, by our own count.

        All requests for an answer read the same context; whether any of it came from the cache of
        those that told nothing nobody knows.
        """
        untold: list[Billed] = []
        prompt_tokens = len(str(context.messages)) // TOKEN_CHARACTERS
        prompt_tokens = max(prompt_tokens, self._prompt_tokens)
        for each in requests:
            usage = each.usage.usage if each.usage else None
            if each.usage is None or usage is None:
                untold.append(each)
                continue
            self._prompt_tokens = prompt_tokens = usage.prompt_tokens
            self._measure(each.provider, each.usage.model, usage, turn=turn)
        for each in untold:
            self._estimate(
                each.provider,
                prompt_tokens=prompt_tokens,
                completion_tokens=each.characters // TOKEN_CHARACTERS,
                turn=turn,
            )

    def _measure(self, provider: str, model: str, usage: CompletionUsage, *, turn: int) -> None:
        details = usage.prompt_tokens_details  # some servers tell none
        self._tell(
            UsageMeasured(
                turn=turn,
                stage="llm",
                provider=provider,
                model=model or self._models[provider].asks_for,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cached_tokens=(details.cached_tokens if details else None) or 0,
            )
        )

    def _estimate(
        self, provider: str, *, prompt_tokens: int, completion_tokens: int, turn: int
    ) -> None:
        self._tell(
            UsageMeasured(
                turn=turn,
                stage="llm",
                provider=provider,
                model=self._models[provider].asks_for,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                estimated=True,
            )
        )
