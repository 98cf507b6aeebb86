"""OpenAI: one word of an answer, then we hang up."""

import asyncio
from typing import Final, cast
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, failed
from fallbacks.symptoms import Symptom
from providers.openai import MODEL, failure_of, share
from providers.provider import ProbeFailedError, RungSpec

# Bounded by what is asked, not by a parameter: servers do not agree on its name, and a probe must
# not be refused for what no caller's request holds.
PROMPT: Final = "Answer with one word: yes."


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Have one word written.

    Raises:
        ProbeFailedError: It did not come in time.
    """
    client = rung.shared if isinstance(rung.shared, AsyncOpenAI) else share(rung)
    try:
        failure = await _failure(client, rung, timeout_s=timeout_s)
    finally:
        if client is not rung.shared:
            await client.close()
    if failure is not None:
        raise _failed(rung, failure)


async def _failure(client: AsyncOpenAI, rung: RungSpec, *, timeout_s: float) -> Failure | None:
    symptom = Symptom.NO_ANSWER
    try:
        async with asyncio.timeout(timeout_s):
            stream = cast(
                "AsyncStream[ChatCompletionChunk]",
                await client.chat.completions.create(
                    model=rung.model or MODEL,
                    messages=[{"role": "user", "content": PROMPT}],
                    stream=True,
                ),
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
