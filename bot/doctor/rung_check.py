"""Measures one rung alone, for `holdline providers check`: at most 20 requests, in a minute."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bot.doctor.model_check import check_model
from bot.doctor.recogniser_check import check_recogniser
from bot.doctor.trial import CheckLine, StepFailedError, Trial
from bot.doctor.voice_check import check_voice
from fallbacks.failure import Kind
from providers.catalog import provider
from providers.provider import ProbeFailedError, RungSpec

LIMIT_S: Final = 60.0
LOAD_S: Final = 30.0  # for models that the service loads into this machine
KEY_S: Final = 8.0
WRONG_KEY: Final = "holdline-checks-a-wrong-key"
CHECKS: Final = {"stt": check_recogniser, "llm": check_model, "tts": check_voice}


async def check_rung(
    rung: RungSpec, tell: Callable[[CheckLine], None], *, limit_s: float = LIMIT_S
) -> None:
    """Measure what a rung's service can do, and tell each result as soon as it is known.

    The first step that fails is told, and ends the check. A rung with a key is also tried with a
    wrong one.
    """
    trial = Trial(rung, tell, limit_s=limit_s)
    share = provider(rung.stage, rung.kind, rung.service).share
    try:
        shared = await trial.step("start", asyncio.to_thread(share, rung), within_s=LOAD_S)
        try:
            await CHECKS[rung.stage](trial, replace(rung, shared=shared))
            if rung.api_key:
                await _try_wrong_key(trial, replace(rung, api_key=WRONG_KEY))
        finally:
            if shared is not None:
                await trial.close(shared.close())
    except StepFailedError:
        pass  # which was told


async def _try_wrong_key(trial: Trial, rung: RungSpec) -> None:
    """Check that a request with this wrong key fails as one; alerts about keys need that."""
    about = "wrong key"
    kind = await trial.step(about, _refusal_of(rung), within_s=KEY_S)
    odd = f"it looks like the failure {kind}, so no alert will name a key that has expired"
    text = {"": "any key is accepted", Kind.AUTH: "recognised as a wrong key"}.get(kind, odd)
    trial.tell(CheckLine(about, text, ok=text is not odd))


async def _refusal_of(rung: RungSpec) -> str:
    """Return the kind of the failure of a request; empty if it was answered."""
    vendor = provider(rung.stage, rung.kind, rung.service)
    try:
        await vendor.probe_for_real(rung, timeout_s=KEY_S - 1.0)
    except ProbeFailedError as error:
        return error.failure(rung).kind
    return ""
