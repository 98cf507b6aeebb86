"""Orders to carriers outside a call, what they answer, and what it means if they do not."""

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from fallbacks.classification import classify_error
from fallbacks.failure import Finding, Kind, ServiceError, error_of, failed

STAGE: Final = "dial"
ASK_S: Final = 5.0  # in a call somebody waits for it; longer helps nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOrder:
    """A call to be placed.

    Attributes:
        to: The number, E.164.
        caller: Whose number is shown, one of the account's.
        ref: Our own id of the dial: it comes back with every callback, and so also for a call whose
            order got no answer.
        ring_s: How long it may ring, where the carrier can be told.
        machine: The carrier's word for how it listens for an answering machine; empty: not at all.
    """

    to: str
    caller: str
    ref: str
    ring_s: float = 30.0
    machine: str = ""


async def answered(carrier: str, asking: Awaitable[tuple[int, Any]]) -> tuple[int, Any]:
    """Return the status and the JSON of an answer.

    Raises:
        ServiceError: There was none; says why, and whether asking again may help.
    """
    try:
        async with asyncio.timeout(ASK_S):
            return await asking
    except (TimeoutError, aiohttp.ClientError, ValueError) as error:
        raise dial_error(carrier, classify_error(error), type(error).__name__) from error


def dial_error(carrier: str, found: Finding | Kind, reason: str) -> ServiceError:
    """Return the error to raise for what a carrier did not do."""
    return error_of(failed(found, STAGE, provider=carrier, reason=reason))


def number_of(said: object) -> float | None:
    """Return a number that is written as one or as a text; None: it is none."""
    try:
        number = float(str(said))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
