"""OpenAI: one complete answer, for work outside a call."""

from typing import Final

import openai
from openai import AsyncOpenAI

from fallbacks.failure import Kind, Scope, error_of, failed, finding
from providers.openai import MODEL, failure_of, share
from providers.provider import PenAnswer, PenQuestion, RungSpec

REFUSED: Final = "content_filter"


async def write(rung: RungSpec, question: PenQuestion) -> PenAnswer:
    """Return an answer.

    No parameter asks for JSON or bounds the length. Servers that speak the protocol disagree on the
    names, and some refuse a name that they do not know.

    Raises:
        ServiceError: The rung did not answer, or refused this request.
    """
    client = rung.shared if isinstance(rung.shared, AsyncOpenAI) else share(rung)
    try:
        answer = await client.chat.completions.create(
            model=rung.model or MODEL,
            messages=[
                {"role": "system", "content": question.instruction},
                {"role": "user", "content": question.text},
            ],
        )
    except (openai.OpenAIError, ValueError, OSError) as error:
        raise error_of(failure_of(error, rung.name, flowing=False)) from error
    finally:
        if client is not rung.shared:
            await client.close()
    choice = answer.choices[0] if answer.choices else None
    if choice is None or choice.message.refusal or choice.finish_reason == REFUSED:
        found = finding(Kind.BAD_REQUEST, Scope.PAYLOAD, permanent=True)
        raise error_of(failed(found, "llm", provider=rung.name, reason="refused to answer"))
    told = answer.usage
    cached = told.prompt_tokens_details.cached_tokens if told and told.prompt_tokens_details else 0
    return PenAnswer(
        text=choice.message.content or "",
        model=answer.model or rung.model or MODEL,
        prompt_tokens=told.prompt_tokens if told else None,
        cached_tokens=cached or 0,
        completion_tokens=told.completion_tokens if told else 0,
    )
