"""Measures a model: a word, why an answer ends, and an answer that is cut."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from pipecat.processors.aggregators.llm_context import LLMContext

from bot.doctor.trial import START_S, CheckLine, Trial, now_s
from fallbacks.classification import classify_symptom
from fallbacks.failure import ServiceError, error_of, failed
from fallbacks.symptoms import Symptom
from processors.answering.model_stream import NO_REASON
from providers.catalog import provider
from providers.provider import RungSpec
from providers.word_probe import PROMPT

MODEL_CHECK_S: Final = 10.0
LONG: Final = "Count from one to fifty, in words."
CUT_PIECES: Final = 3  # of the long answer, after which it is cut (chosen)


async def check_model(trial: Trial, rung: RungSpec) -> None:
    """Measure a model with three requests."""
    facts = replace(rung.facts, says_why=True)  # otherwise a missing reason is filled in
    rung = replace(rung, instructions="", facts=facts)
    build = provider("llm", rung.kind, rung.service).build
    model: Any = await trial.step("start", asyncio.to_thread(build, rung), within_s=START_S)
    try:
        first_s, why = await trial.step(
            "a word", _time_answer(model, PROMPT), within_s=MODEL_CHECK_S
        )
        trial.tell(CheckLine("a word", f"after {first_s:.2f} s"))
        text = f'it says "{why}"' if why else "it does not say"
        trial.tell(CheckLine("says why an answer ended", text, fact="says_why", value=bool(why)))
        long = _time_answer(model, LONG, pieces=CUT_PIECES)
        await trial.step("a long answer", long, within_s=MODEL_CHECK_S)
        first_s, _ = await trial.step(
            "after a cut", _time_answer(model, PROMPT), within_s=MODEL_CHECK_S
        )
        trial.tell(CheckLine("after a cut", f"the next answer begins after {first_s:.2f} s"))
    finally:
        await trial.close(model.close())


async def _time_answer(model: Any, prompt: str, *, pieces: int = 0) -> tuple[float, str]:
    """Read an answer, or only its first `pieces` texts if not 0.

    Returns:
        The seconds until its first text, and the reason of its end; empty if it gave none.

    Raises:
        ServiceError: The model failed, or wrote nothing.
    """
    asked_at, begun, why = now_s(), list[float](), ""
    context = LLMContext([{"role": "user", "content": prompt}])
    chunks: Any = model.ask(context, on_answered=lambda: None)
    try:
        async with aclosing(chunks):
            async for choice in (item.choices[0] async for item in chunks if item.choices):
                has_text = choice.delta and (choice.delta.content or "").strip()
                begun += [now_s() - asked_at] if has_text else []
                reason = str(choice.finish_reason)
                why = why or ("" if reason in NO_REASON else reason)
                if 0 < pieces <= len(begun):
                    break
    except ServiceError:
        raise
    except Exception as error:
        raise error_of(model.failure_of(error, flowing=bool(begun))) from error
    if not begun:
        found = classify_symptom(Symptom.NO_TEXT)
        raise error_of(failed(found, "llm", provider="", reason="it wrote nothing"))
    return begun[0], why
