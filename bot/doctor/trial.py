"""The trial of one rung alone: its steps, each within a time, and the lines that they tell."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from calls.sentences import explain
from fallbacks.failure import ServiceError
from providers.adapter.lone_service import LoneService
from providers.catalog import provider
from providers.provider import ProbeFailedError, RungSpec

START_S: Final = 10.0  # for one connection; models are loaded before
LEAVE_S: Final = 4.0  # for a service that was cancelled or is closed; then it is abandoned
CLOSE_S: Final = 2.0  # of `LEAVE_S`, for closing after the trial's time is over (chosen)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One line of the result."""

    about: str
    text: str
    ok: bool = True  # whether it is as callers need it
    fact: str = ""  # the field of `RungFacts` that it is about
    value: bool | None = None  # that fact; `None` if it could not be measured


class StepFailedError(Exception):
    """A step failed, which was told; the trial is over."""


class Trial:
    """The time that is left for one rung; `tell` gets each line.

    Of `limit_s`, the last `LEAVE_S` are kept for closing the service.
    """

    def __init__(
        self, rung: RungSpec, tell: Callable[[CheckLine], None], *, limit_s: float
    ) -> None:
        self.tell = tell
        self._rung = rung
        self._ends_at = now_s() + limit_s - LEAVE_S
        self._abandoned = set[asyncio.Task[Any]]()

    async def close(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the last step of something, also when the trial's time is over; see `step`."""
        await self.step("end", work, within_s=LEAVE_S, late_s=CLOSE_S)

    async def step(
        self, about: str, work: Coroutine[Any, Any, T], *, within_s: float, late_s: float = 0.0
    ) -> T:
        """Run one step and return its result; cancel it when its time or the trial's is over.

        It may end `late_s` after the trial's time. One that goes on for `LEAVE_S` after its
        cancellation is left running.

        Raises:
            StepFailedError: It failed or took too long, which was told.
        """
        limit_s = max(0.0, min(within_s, self._ends_at + late_s - now_s()))
        task = asyncio.get_running_loop().create_task(work, name=f"check {about}")
        if (await asyncio.wait({task}, timeout=limit_s))[0]:
            return self._result_of(task, about)
        task.cancel()
        if (await asyncio.wait({task}, timeout=LEAVE_S))[0]:
            raise self._tell_failure(about, f"no answer within {limit_s:.0f} s")
        self._abandoned.add(task)
        raise self._tell_failure(about, "it ignores its cancellation")

    def _result_of(self, task: asyncio.Task[T], about: str) -> T:
        """Return the result of a step, or tell why it failed, without the key, and raise."""
        try:
            return task.result()
        except (ServiceError, ProbeFailedError) as error:
            known = isinstance(error, ServiceError)
            failure = error.failure if known else error.failure(self._rung)
            why = explain(failure.kind, failure.reason, self._rung.vendor) or failure.kind
            raise self._tell_failure(
                about, why.replace(self._rung.api_key or "\n", "...")
            ) from error
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            raise self._tell_failure(about, f"it raised {type(error).__name__}") from error

    def _tell_failure(self, about: str, why: str) -> StepFailedError:
        self.tell(CheckLine(about, why, ok=False))
        return StepFailedError(why)


@asynccontextmanager
async def alone(
    trial: Trial, rung: RungSpec, *, prepare: Callable[[Any], None]
) -> AsyncIterator[tuple[LoneService, Any]]:
    """Build a rung's service, call `prepare`, and run it alone during the block.

    Raises:
        StepFailedError: It cannot be started, which was told.
    """

    async def start() -> tuple[LoneService, Any]:
        service = await asyncio.to_thread(provider(rung.stage, rung.kind, rung.service).build, rung)
        prepare(service)
        return await LoneService(service, rate_hz=rung.sample_rate_hz).__aenter__(), service

    lone, service = await trial.step("start", start(), within_s=START_S)
    try:
        yield lone, service
    finally:
        await lone.__aexit__()


def now_s() -> float:
    """Return the loop's time, monotonic, in seconds."""
    return asyncio.get_running_loop().time()
