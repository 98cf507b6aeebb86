"""The real probe of any model: it writes one word."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from openai.types.chat import ChatCompletionChunk
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.processors.aggregators.llm_context import LLMContext

from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, Scope, failed
from fallbacks.symptoms import Symptom
from providers.provider import ProbeFailedError, RungSpec

# The prompt, not a parameter, bounds the answer's length: servers disagree on the parameter's name,
# and a probe must not be refused for something that no caller's request contains.
PROMPT: Final = "Answer with one word: yes."
MAX_TOOLS: Final = 32  # tools that are offered alone to find the one that is refused (chosen)


class AskedModel(Protocol):
    """A model that is probed."""

    def ask(
        self, context: LLMContext, *, on_answered: Callable[[], None]
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Stream an answer."""
        ...

    def failure_of(self, error: Exception, *, flowing: bool) -> Failure:
        """Classify an error of `ask`."""
        ...


async def ask_for_word(
    model: AskedModel, rung: RungSpec, *, timeout_s: float, whole: bool = False
) -> None:
    """Request one word, with the rung's tools, if any.

    Args:
        model: The model.
        rung: Its rung.
        timeout_s: How long the word may take.
        whole: Read the answer to its end, as far as the time allows.

    Raises:
        ProbeFailedError: The server refused, or the word did not arrive in time. If it refuses a
            tool, the text names the tool.
    """
    ends_at = asyncio.get_running_loop().time() + timeout_s
    failure = await _ask_once(model, rung, timeout_s=timeout_s, whole=whole)
    if failure is not None and failure.scope is Scope.REQUEST and rung.tools:
        failure = await _name_tool(model, rung, failure, ends_at=ends_at)
    if failure is not None:
        raise _probe_error(rung, failure)


async def _name_tool(
    model: AskedModel, rung: RungSpec, failure: Failure, *, ends_at: float
) -> Failure:
    """Return the failure, with the name of the tool that is refused when it is offered alone.

    It is unchanged if no tool is refused alone, or the time is over at `ends_at`.
    """
    for tool in rung.tools[:MAX_TOOLS]:
        left_s = ends_at - asyncio.get_running_loop().time()
        if left_s <= 0:
            break
        try:
            alone = await _ask_once(model, replace(rung, tools=(tool,)), timeout_s=left_s)
        except ProbeFailedError:  # no time is left
            break
        if alone is not None and alone.scope is Scope.REQUEST:
            return replace(failure, reason=f"the tool {tool.name}: {alone.reason}")
    return failure


async def _ask_once(
    model: AskedModel, rung: RungSpec, *, timeout_s: float, whole: bool = False
) -> Failure | None:
    """Request one word; return why none arrived, or `None` if one did, or a tool call.

    Raises:
        ProbeFailedError: No word arrived in time.
    """
    wrote, symptom = False, Symptom.NO_ANSWER
    question = LLMContext([{"role": "user", "content": PROMPT}])
    if rung.tools:
        question.set_tools(ToolsSchema(standard_tools=list(rung.tools)))

    def answered() -> None:
        nonlocal symptom
        symptom = Symptom.NO_TEXT

    chunks: Any = model.ask(question, on_answered=answered)
    try:
        async with asyncio.timeout(timeout_s), aclosing(chunks):
            async for chunk in chunks:
                wrote = wrote or _is_word(chunk)
                if wrote and not whole:
                    break
    except TimeoutError as error:
        if not wrote:
            raise _probe_error(rung, _symptom_failure(symptom, rung)) from error
    except Exception as error:  # noqa: BLE001 - the provider's edge: any error is its failure
        return None if wrote else model.failure_of(error, flowing=False)
    return None if wrote else _symptom_failure(Symptom.NO_TEXT, rung)


def _is_word(chunk: ChatCompletionChunk) -> bool:
    """Return whether a chunk has text or a tool call."""
    delta = chunk.choices[0].delta if chunk.choices else None
    return bool(delta and (delta.tool_calls or (delta.content or "").strip()))


def _symptom_failure(symptom: Symptom, rung: RungSpec) -> Failure:
    return failed(classify_symptom(symptom), "llm", provider=rung.name, reason=f"{symptom}")


def _probe_error(rung: RungSpec, failure: Failure) -> ProbeFailedError:
    """Return a failure as the probe's error, which names the host."""
    host = urlsplit(rung.url).netloc or rung.name
    return ProbeFailedError(f"{host}: {failure.reason or failure.kind}", failure=failure)
