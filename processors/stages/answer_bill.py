"""What the answers of a call will be billed: told by the provider, or else by our own count."""

from collections.abc import Iterable, Mapping
from typing import Final

from pipecat.metrics.metrics import LLMTokenUsage

from calls.entry import Tell
from calls.events import UsageMeasured
from calls.turn import Turn
from processors.stages.model_stream import CalledOff, Model
from processors.stages.prepared_answer import PreparedAnswer

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

    def tell(
        self, provider: str, model: str, tokens: LLMTokenUsage, called_off: Iterable[CalledOff]
    ) -> None:
        """Tell what an answer was billed, and requests for the same answer that were called off.

        Those read the same context; whether any of it came from their cache nobody has told.
        """
        self._prompt_tokens = tokens.prompt_tokens
        self._tell(
            UsageMeasured(
                turn=self._turn.number,
                stage="llm",
                provider=provider,
                model=model,
                prompt_tokens=tokens.prompt_tokens,
                completion_tokens=tokens.completion_tokens,
                cached_tokens=tokens.cache_read_input_tokens or 0,
            )
        )
        self._tell_called_off(called_off, tokens.prompt_tokens, turn=self._turn.number)

    def tell_estimated(self, provider: str, *, asked: str, answered: str) -> None:
        """Tell what an answer in one piece will be billed, which comes without its usage."""
        self._estimate(
            provider,
            prompt_tokens=len(asked) // TOKEN_CHARACTERS,
            completion_tokens=len(answered) // TOKEN_CHARACTERS,
            turn=self._turn.number,
        )

    def tell_dropped(self, prepared: PreparedAnswer, turn: int) -> None:
        """Tell what an early answer costs that nobody took."""
        written = len(str(prepared.context.messages)) // TOKEN_CHARACTERS
        usage = prepared.usage.usage if prepared.usage else None
        if prepared.usage and usage:
            details = usage.prompt_tokens_details  # some servers tell none
            self._tell(
                UsageMeasured(
                    turn=turn,
                    stage="llm",
                    provider=prepared.writer,
                    model=prepared.usage.model or self._models[prepared.writer].asks_for,
                    prompt_tokens=usage.prompt_tokens,
                    completion_tokens=usage.completion_tokens,
                    cached_tokens=(details.cached_tokens if details else None) or 0,
                )
            )
        prompt_tokens = max(written, self._prompt_tokens)
        self._tell_called_off(prepared.unbilled(), prompt_tokens, turn=turn)

    def _tell_called_off(
        self, requests: Iterable[CalledOff], prompt_tokens: int, *, turn: int
    ) -> None:
        for each in requests:
            self._estimate(
                each.provider,
                prompt_tokens=prompt_tokens,
                completion_tokens=each.characters // TOKEN_CHARACTERS,
                turn=turn,
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
