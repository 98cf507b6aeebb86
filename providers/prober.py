"""Probes the rungs in the background, one task each; `fallbacks.probing` decides when."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from loguru import logger

from calls.entry import Emit
from calls.sentences import explain
from fallbacks.availability import AvailabilityTable, RungAvailability
from fallbacks.breaker import Permit
from fallbacks.events import AttemptFailed, ProviderProbed
from fallbacks.failure import Failure, Kind, failed
from fallbacks.lag import Lag
from fallbacks.probing import Probe, ProbeSettings, Probing, is_doubted
from providers.catalog import provider
from providers.provider import ProbeFailedError, RungSpec
from runtime.clock import Clock

SUSPICION_CHECK_S: Final = 0.25  # how soon a new suspicion is noticed; its probe follows 1 s later
MARGIN_S: Final = 0.25  # beyond a probe's own limit, in case the provider's module ignores it
LAG: Final = "lag"  # in place of a failure's kind: a time-out that our own lag caused

Key: TypeAlias = tuple[str, str]
"""The stage and the rung's name."""

KeepRunning: TypeAlias = Callable[[str, Callable[[], Awaitable[None]]], Coroutine[Any, Any, None]]
"""Runs a background task by its name in the log, again after each failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastProbe:
    """The result of a rung's last probe, for display."""

    at_s: float  # monotonic
    real: bool  # as in `ProbeResult`
    ok: bool
    took_s: float
    error: str  # a redacted sentence; empty if `ok`
    kind: str = ""  # the failure's kind, or `LAG`; empty if `ok`


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The result of a probe.

    Attributes:
        real: Whether it was a real request, not the cheap one.
        failure: `None` if the rung answered as it should.
        timed_out: Whether it failed by a time-out, which our own lag may have caused.
    """

    real: bool
    failure: Failure | None = None
    timed_out: bool = False


class Prober:
    """Probes one rung and records the results. It never delays a call.

    Attributes:
        last: The result of the last probe; `None` before the first one.
        answered: Set after the first completed probe.
        lag: The event loop's lag monitor: a time-out that our own lag caused does not count
            against the rung.
        tools: Returns the schemas of the agents' tools, which a model's real probe offers after a
            request was refused.
    """

    def __init__(
        self,
        rung: RungSpec,
        *,
        availability: AvailabilityTable,
        settings: ProbeSettings,
        emit: Emit,
        clock: Clock,
        leads: Callable[[], bool] = lambda: True,
        printable: Callable[[str], str] = str,
    ) -> None:
        """Create the prober of a rung; `run` begins to probe.

        Args:
            rung: The rung to probe, with its own key.
            availability: The table that all calls share; probe results go there.
            settings: How often to probe.
            emit: Emits `ProviderProbed`, `AttemptFailed` and the breaker's events.
            clock: Monotonic.
            leads: Returns whether this process probes the rung, rather than another process that
                shares the rung's health.
            printable: Masks secrets in a text that leaves the process.
        """
        self.last: LastProbe | None = None
        self.answered = asyncio.Event()
        self.lag = Lag()
        self.tools: Callable[[], tuple[Any, ...]] = tuple
        self._rung = rung
        self._table = availability
        self._emit = emit
        self._clock = clock
        self._leads = leads
        self._printable = printable
        self._vendor = provider(rung.stage, rung.kind, rung.service)
        asks_cheaply = self._vendor.facts.asks_cheaply
        self._probing = Probing(now=clock(), settings=settings, asks_cheaply=asks_cheaply)

    @property
    def rung(self) -> RungSpec:
        """The rung that is probed."""
        return self._rung

    @property
    def availability(self) -> RungAvailability:
        """The availability of the rung."""
        return self._table.of(self._rung.stage, self._rung.name)

    @property
    def is_probing(self) -> bool:
        """Whether this process probes the rung: probing is on, and no other process does it."""
        return self._probing.wake_at is not None and self._leads()

    def reset(self) -> None:
        """Make the next probe due at once, unless probing is off.

        Called at startup, or when an operator asks.
        """
        self._probing.see(self._clock(), doubted=is_doubted(self.availability))
        self._probing.reset(self._clock())

    async def run(self) -> None:
        """Probe when a probe is due and this process leads, until cancelled.

        Whether the rung is doubted is checked every `SUSPICION_CHECK_S`.
        """
        while True:
            now, health = self._clock(), self.availability
            self._probing.see(now, doubted=is_doubted(health), refused=health.refused_for_good)
            for probe in self._probing.tick(now) if self._leads() else ():
                await self._probe_and_record(probe)
            await asyncio.sleep(SUSPICION_CHECK_S)

    async def _probe_and_record(self, probe: Probe) -> None:
        """Send one probe, emit its result, and record it in the rung's availability.

        `last` and `answered` are set as well. A time-out that our own lag caused is emitted, too,
        but not recorded. During a trial request of a call, nothing is sent.
        """
        permit = self.availability.permit(self._clock(), probe=True)
        if permit is None:  # a trial request is in progress, whose result will tell as much
            self._probing.reported(probe.number, self._clock(), ok=False)
            return
        began_s = self._clock()
        stalled_before_s = self.lag.stalled_s(began_s)
        try:
            result = await self._probe_and_confirm(probe)
        except asyncio.CancelledError:
            self.availability.breaker.take_back(permit)
            raise
        now = self._clock()
        mostly_stalled = 2 * (self.lag.stalled_s(now) - stalled_before_s) > now - began_s
        # The answer may have arrived in time, although we have not read it.
        may_be_unread = mostly_stalled or began_s < now < self.lag.ready_at
        failure, lagged = result.failure, may_be_unread and result.timed_out
        self.last = LastProbe(
            at_s=now,
            real=result.real,
            ok=failure is None,
            took_s=now - began_s,
            error=self._printable(_sentence_for_operator(failure, self._rung, lagged=lagged)),
            kind="" if failure is None else LAG if lagged else failure.kind,
        )
        self._emit_probe(self.last)
        self.answered.set()
        if lagged:
            self.availability.breaker.take_back(permit)
        else:
            success_counts = probe.counts or result.real
            self._record_result(permit, failure, now=now, success_counts=success_counts)
        self._probing.reported(probe.number, now, ok=failure is None)
        self._probing.see(now, doubted=is_doubted(self.availability))

    async def _probe_and_confirm(self, probe: Probe) -> ProbeResult:
        """Send the real request or the cheap one.

        A key may permit the requests of calls but not the cheap one. So a permanent refusal of the
        cheap request to a rung that is not doubted is confirmed with a real one. If that succeeds,
        no cheap request is sent any more.
        """
        if probe.real:
            return await self._send_probe(real=True, timeout_s=probe.timeout_s)
        cheap = await self._send_probe(real=False, timeout_s=probe.timeout_s)
        if cheap.failure is None or not cheap.failure.permanent or probe.counts:
            return cheap
        confirmed = await self._send_probe(real=True, timeout_s=probe.timeout_s)
        if confirmed.failure is None:
            self._probing.use_real_probes()
        return confirmed

    async def _send_probe(self, *, real: bool, timeout_s: float) -> ProbeResult:
        """Send one request, real or cheap. Any error becomes the result; none is raised.

        If a model has refused a request, its real probe offers the agents' tools.
        """
        rung = self._rung
        if real and rung.stage == "llm" and self.availability.refuses:
            rung = replace(rung, tools=self.tools())
        ask = self._vendor.probe_for_real if real else self._vendor.probe
        try:
            async with asyncio.timeout(timeout_s + MARGIN_S):
                await ask(rung, timeout_s=timeout_s)
        except ProbeFailedError as refused:
            failure = refused.failure(rung)
            timed_out = refused.timed_out or failure.kind is Kind.TIMEOUT
            return ProbeResult(real=real, failure=failure, timed_out=timed_out)
        except TimeoutError:
            hung = failed(Kind.TIMEOUT, rung.stage, provider=rung.name, reason="the probe hung")
            return ProbeResult(real=real, failure=hung, timed_out=True)
        except Exception as mistake:  # noqa: BLE001 - edge of the provider: never ends probing
            logger.opt(exception=mistake).error("the probe of {} failed", rung.name)
            name = type(mistake).__name__
            odd = failed(Kind.PROTOCOL, rung.stage, provider=rung.name, reason=name)
            return ProbeResult(real=real, failure=odd)
        return ProbeResult(real=real)

    def _record_result(
        self, permit: Permit, failure: Failure | None, *, now: float, success_counts: bool
    ) -> None:
        """Record a probe's result in the rung's availability, and emit the resulting events.

        Every failure is recorded. Before `served_until` it does not count yet, because a caller was
        served a moment ago; so no `AttemptFailed` is emitted then.

        A success is recorded if `success_counts`: a real request was answered, or the rung is
        doubted. Any other success only returns the permit.
        """
        if failure is not None:
            if now >= self.availability.served_until:
                reason = f"probe: {self._printable(failure.reason)}"
                self._emit(AttemptFailed.of(replace(failure, reason=reason)))
            events = self._table.failed(permit, failure, now=now)
        elif success_counts:
            key: Key = (self._rung.stage, self._rung.name)
            events = self._table.succeeded(key, permit, now=now)
        else:
            # A cheap request shows that the rung can be reached, not that it can serve a caller.
            self.availability.breaker.take_back(permit)
            events = ()
        for event in events:
            self._emit(event)

    def _emit_probe(self, probe: LastProbe) -> None:
        """Emit the result of a probe as `ProviderProbed`."""
        self._emit(
            ProviderProbed(
                stage=self._rung.stage,
                provider=self._rung.name,
                real=probe.real,
                ok=probe.ok,
                took_s=probe.took_s,
                error=probe.error,
            )
        )


def _sentence_for_operator(failure: Failure | None, rung: RungSpec, *, lagged: bool) -> str:
    """Return a sentence for the operator about a failed probe; empty if it succeeded."""
    if failure is None:
        return ""
    kind, reason = (LAG, "") if lagged else (failure.kind, failure.reason)
    return explain(kind, reason, rung.vendor) or kind


def by_place(probers: Iterable[Prober]) -> Mapping[Key, Prober]:
    """Return the probers by stage and name."""
    return {(prober.availability.stage, prober.availability.provider): prober for prober in probers}


@asynccontextmanager
async def run_probers(probers: Iterable[Prober], keep_running: KeepRunning) -> AsyncIterator[None]:
    """Run the probers while the block runs, and cancel them at its end.

    `keep_running` starts each again after a failure.
    """
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(
                keep_running(f"probing {prober.availability.provider}", prober.run),
                name=f"probe {prober.availability.provider}",
            )
            for prober in probers
        ]
        try:
            yield
        finally:
            for item in running:
                item.cancel()
