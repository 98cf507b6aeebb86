"""The language model's stage: one answer from whichever rung can give it.

The ladder stands inside one Pipecat service, in the place where it asks for a completion: so there
is one start and one end of an answer whatever fails over, and no late word of an abandoned rung can
come through, because the words are pulled by us.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from openai.types.chat import ChatCompletionChunk
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService

from calls.entry import Tell
from calls.events import UsageMeasured
from calls.turn import Turn
from fallbacks.answering import Answering
from fallbacks.work import StagePolicy, Work
from processors.sentences import TakeBackFrame
from processors.stages.model_answer import ModelAnswer
from processors.stages.model_stream import CalledOff, Model

TOKEN_CHARACTERS: Final = 4  # of English; help.openai.com, "What are tokens"
ASIDE_S: Final = 10.0  # for a place, where no caller waits for the answer (chosen)


class LlmStage(OpenAILLMService):
    """Pipecat's own service, with a ladder where it asks for a completion."""

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        policy: StagePolicy,
        tell: Tell,
        clock: Callable[[], float],
        turn: Turn,
        window_tokens: int,
    ) -> None:
        """Take the rungs.

        Args:
            models: By the rung's name, the preferred one first.
            policy: What all calls share about this stage.
            tell: Takes the facts.
            clock: Monotonic, in seconds.
            turn: The turn in progress: its number, its deadline, the numbers of attempts.
            window_tokens: The context window, for a context that a provider calls too long.
        """
        self._models = models
        super().__init__(api_key="each rung has its own")
        self._policy = policy
        self._tell = tell
        self._now = clock
        self._turn = turn
        self._window_tokens = window_tokens
        self.speaker = next(iter(models))
        self._called_off: list[CalledOff] = []
        for name, gate in policy.gates.items():
            if name in models:
                models[name].on_headers(gate.learn)

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """Return none: each rung has a client of its own."""
        del args, kwargs

    async def get_chat_completions(self, context: LLMContext) -> Any:
        """Return the stream of one answer, wherever it comes from."""
        return self._answer(context)

    async def run_inference(self, context: LLMContext, *args: Any, **kwargs: Any) -> str | None:
        """Answer outside the call, by the first rung that may be asked."""
        del args
        now, gates = self._now(), self._policy.gates
        standings = self._policy.roster.standings(self._policy.stage, now)
        usable = [each.provider for each in standings if each.usable] or [self.speaker]
        roomy = (each for each in usable if each not in gates or gates[each].room)
        name = next(roomy, usable[0])
        if name not in gates:
            return await self._infer(name, context, **kwargs)
        until = self._turn.unhurried_until(now, ASIDE_S)
        ticket = await gates[name].enter(self._turn.attempts, until=until)
        if ticket is None:
            return None
        try:
            return await self._infer(name, context, **kwargs)
        finally:
            gates[name].leave(ticket)

    async def _infer(self, name: str, context: LLMContext, **kwargs: Any) -> str | None:
        """Ask one rung, and tell what it will bill: the answer comes without its usage."""
        answer = await self._models[name].infer(context, **kwargs)
        asked = f"{kwargs.get('system_instruction') or ''}{context.messages}"
        self._tell(
            UsageMeasured(
                turn=self._turn.number,
                stage="llm",
                provider=name,
                model=self._models[name].asks_for,
                prompt_tokens=len(asked) // TOKEN_CHARACTERS,
                completion_tokens=len(answer or "") // TOKEN_CHARACTERS,
                estimated=True,
            )
        )
        return answer

    async def cleanup(self) -> None:
        """Let the rungs' connections go."""
        await super().cleanup()
        for model in self._models.values():
            await model.close()

    async def start_llm_usage_metrics(self, tokens: LLMTokenUsage) -> None:
        """Tell what the rung that answered will bill."""
        self._tell(
            UsageMeasured(
                turn=self._turn.number,
                stage="llm",
                provider=self.speaker,
                model=self.get_full_model_name(),
                prompt_tokens=tokens.prompt_tokens,
                completion_tokens=tokens.completion_tokens,
                cached_tokens=tokens.cache_read_input_tokens or 0,
            )
        )
        self._tell_called_off(tokens)

    async def _answer(self, context: LLMContext) -> AsyncIterator[ChatCompletionChunk]:
        async def heard(provider: str, taken_back: int) -> None:
            self.speaker = provider or self.speaker
            if taken_back:
                await self.push_frame(TakeBackFrame(characters=taken_back))

        def begin() -> Work:
            return Work(
                self._policy,
                numbers=self._turn.attempts,
                prompt=self._turn.until,
            )

        answer = ModelAnswer(
            models=self._models,
            answering=Answering(begin, until=self._turn.patient_until),
            context=context,
            owner=self,
            clock=self._now,
            window_tokens=self._window_tokens,
            tell=self._tell,
            heard=heard,
        )
        self._called_off = answer.called_off
        try:
            async for chunk in answer.chunks():
                yield chunk
        finally:
            await answer.close()

    def _tell_called_off(self, tokens: LLMTokenUsage) -> None:
        """Tell what requests for the same answer will bill that were called off.

        They read the same context; whether any of it came from their cache nobody has told.
        """
        for each in self._called_off:
            self._tell(
                UsageMeasured(
                    turn=self._turn.number,
                    stage="llm",
                    provider=each.provider,
                    model=self._models[each.provider].asks_for,
                    prompt_tokens=tokens.prompt_tokens,
                    completion_tokens=each.characters // TOKEN_CHARACTERS,
                    estimated=True,
                )
            )
        self._called_off = []
