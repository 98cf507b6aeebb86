"""Tests a stage's last usable rung before a contact is dialled.

With a standby, the call would switch over, so nothing is tested. Without one, the rung gets a small
real request before the dial, retried after 5, 10 and 20 s by default. If all fail, its breaker
opens, so that no contact is called by an agent that cannot talk.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.workers.process import Process
from campaigns.guard import stage_down
from configuration.stages import STAGES
from fallbacks.availability import AvailabilityTable
from fallbacks.failure import Failure, Kind, ServiceError, failed
from operations.retrying import Retries, run_with_retries
from providers.catalog import provider
from providers.provider import ProbeFailedError, RungSpec

RESPONSE_MARGIN_S: Final = 0.25  # beyond `timeout_s`, if the provider's module ignores that
FRESH_S: Final = 30.0  # chosen: a rung that worked this recently needs no rehearsal


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """Rehearses the rungs of one process. Concurrent dials wait for one rehearsal and share it.

    Attributes:
        rungs: By stage, the preferred one first.
        availability: The availability of the rungs.
        retries: How often to retry, and where failures count.
        timeout_s: The limit of one request.
        fresh_s: How long a successful rehearsal is valid.
    """

    rungs: Mapping[str, Sequence[RungSpec]]
    availability: AvailabilityTable
    retries: Retries
    timeout_s: float
    fresh_s: float = FRESH_S
    _succeeded_at: dict[str, float] = field(default_factory=dict[str, float])
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ready(self) -> str:
        """Rehearse where needed; return the reason why an agent could not talk, or empty.

        The reason is `stt_down`, `llm_down` or `tts_down`.
        """
        async with self._lock:
            for stage in STAGES:
                await self._rehearse_if_due(stage)
        return stage_down({stage: bool(self._usable_rungs(stage)) for stage in STAGES})

    async def _rehearse_if_due(self, stage: str) -> None:
        """Test the stage's last usable rung, unless a rehearsal has succeeded within `fresh_s`.

        Does nothing if no rung or several are usable. After failed retries the breaker is open.
        """
        usable, now = self._usable_rungs(stage), self.retries.clock()
        if len(usable) != 1 or now < self._succeeded_at.get(stage, -self.fresh_s) + self.fresh_s:
            return
        rung = usable[0]
        try:
            await run_with_retries(
                lambda: self._probe_for_real(rung),
                asked=(stage, rung.name),
                classify=lambda error: _failure_in_rehearsal(error, rung),
                retries=self.retries,
            )
        except ServiceError:
            return  # its breaker is open now
        self._succeeded_at[stage] = self.retries.clock()

    async def _probe_for_real(self, rung: RungSpec) -> None:
        vendor = provider(rung.stage, rung.kind)
        async with asyncio.timeout(self.timeout_s + RESPONSE_MARGIN_S):
            await vendor.probe_for_real(rung, timeout_s=self.timeout_s)

    def _usable_rungs(self, stage: str) -> list[RungSpec]:
        usable = self.availability.usable(stage, self.retries.clock())
        names = {found.provider for found in usable}
        return [rung for rung in self.rungs.get(stage, ()) if rung.name in names]


def _failure_in_rehearsal(error: Exception, rung: RungSpec) -> Failure | None:
    if isinstance(error, TimeoutError):
        return failed(Kind.TIMEOUT, rung.stage, provider=rung.name, reason="the rehearsal hung")
    return error.failure(rung) if isinstance(error, ProbeFailedError) else None


def rehearsal_of(process: Process) -> Rehearsal:
    """Return a rehearsal of a process's rungs."""
    view = process.providers
    rungs: dict[str, list[RungSpec]] = {}
    for prober in view.probers:
        rungs.setdefault(prober.rung.stage, []).append(prober.rung)
    resilience = process.settings.resilience
    return Rehearsal(
        rungs=rungs,
        availability=view.availability,
        retries=Retries(
            settings=resilience.retry_settings(), emit=view.emit, availability=view.availability
        ),
        timeout_s=resilience.probe.timeout_s,
    )
