"""Placing a call, outside a call: with retries, and never twice because an answer was lost."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from bot.health.retrying import Retries, run_with_retries
from fallbacks.failure import Failure, Kind, ServiceError
from transports.twilio_calls import CallRecord, DialOrder, TwilioCalls
from transports.twilio_rest import PROVIDER, STAGE

UNSURE: Final = frozenset({Kind.TIMEOUT, Kind.NETWORK, Kind.OVERLOADED, Kind.PROTOCOL})
"""After these a call may have been placed all the same."""


async def place_call(
    calls: TwilioCalls,
    order: DialOrder,
    *,
    retries: Retries,
    utc_now: Callable[[], datetime],
) -> CallRecord:
    """Return the call that was placed, which may still be waiting for its turn.

    Before it is asked for again after an answer that was lost, the carrier is asked for calls to
    that number since we began; one that is found there is ours.

    Raises:
        ServiceError: None was placed, as far as anybody can say; holds what the last try came to.
    """
    began, unsure = utc_now(), False

    async def attempt() -> CallRecord:
        nonlocal unsure
        if unsure:
            found = await calls.search(to=order.to, since=began)
            ours = [each for each in found if each.caller == order.caller]
            if ours:
                return ours[0]
        try:
            return await calls.dial(order)
        except ServiceError as error:
            unsure = unsure or error.failure.kind in UNSURE
            raise

    return await run_with_retries(
        attempt, asked=(STAGE, PROVIDER), classify=_failure_of, retries=retries
    )


def _failure_of(error: Exception) -> Failure | None:
    return error.failure if isinstance(error, ServiceError) else None
