"""OpenAI: request one word, then close the connection."""

import asyncio
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import openai
from pipecat.processors.aggregators.llm_context import LLMContext

from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, failed
from fallbacks.symptoms import Symptom
from providers.openai import OneTryOpenAI, build, failure_of
from providers.provider import ProbeFailedError, RungSpec

# The prompt bounds the length, not a parameter: servers disagree on the parameter's name, and a
# probe must not be refused for something that no caller's request contains.
PROMPT: Final = "Answer with one word: yes."


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Request one word, with the options of callers' requests.

    Raises:
        ProbeFailedError: It did not arrive in time.
    """
    model = build(replace(rung, instructions=""))
    try:
        failure = await _failure(model, rung, timeout_s=timeout_s)
    finally:
        await model.close()
    if failure is not None:
        raise _failed(rung, failure)


async def _failure(model: OneTryOpenAI, rung: RungSpec, *, timeout_s: float) -> Failure | None:
    symptom = Symptom.NO_ANSWER
    try:
        async with asyncio.timeout(timeout_s):
            stream = await model.get_chat_completions(
                LLMContext([{"role": "user", "content": PROMPT}])
            )
            symptom = Symptom.NO_TEXT
            async with stream:
                async for chunk in stream:
                    if chunk.choices and (chunk.choices[0].delta.content or "").strip():
                        return None
    except TimeoutError as slow:
        raise _failed(rung, _meant(symptom, rung)) from slow
    except (openai.OpenAIError, ValueError, OSError) as error:
        return failure_of(error, rung.name, flowing=False)
    return _meant(symptom, rung)


def _meant(symptom: Symptom, rung: RungSpec) -> Failure:
    return failed(classify_symptom(symptom), "llm", provider=rung.name, reason=f"{symptom}")


def _failed(rung: RungSpec, failure: Failure) -> ProbeFailedError:
    host = urlsplit(rung.url).netloc
    return ProbeFailedError(f"{host}: {failure.reason or failure.kind}", failure=failure)
