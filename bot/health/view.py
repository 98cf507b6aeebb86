"""The operator's view of the providers, and the actions an operator may take on them."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger

from bot.health.policies import run_breaker_timers
from bot.health.sharing import BoardClient, places, share_health
from calls.entry import Emit
from calls.sentences import callers_get, cure_of
from configuration.rungs import LOCAL, rung_of
from configuration.settings import Settings
from configuration.stages import STAGES, StagesSettings
from fallbacks.availability import AvailabilityTable, RungAvailability
from fallbacks.lag import Lag
from operations.keep_running import keep_running
from operations.masking import printable
from operations.telemetry.live import merge_recent
from processors.holding.outage_rules import Step
from providers.prober import Prober, by_place, run_probers
from runtime import clock
from runtime.clock import Clock

FIRST_S: Final = 3.0  # for the startup probes; slower providers do not delay startup
BEST_TO_WORST: Final = ("closed", "half_open", "open")


def merge_rungs(views: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return one entry per rung, in the first view's order, with the worst state of all views.

    Processes adopt each other's changes within about half a second, so the views differ only
    briefly. One process probes for all; the newest probe in any view is shown. `views` is not
    empty.
    """
    found: list[dict[str, Any]] = []
    for rung in views[0]:
        same = [
            item
            for view in views
            for item in view
            if (item["stage"], item["name"]) == (rung["stage"], rung["name"])
        ]
        probes = [item["last_probe"] for item in same if item["last_probe"]]
        found.append(
            dict(max(same, key=_severity_rank))
            | {
                "recent": merge_recent([item["recent"] for item in same if item.get("recent")]),
                "usable": all(item["usable"] for item in same),
                "suspect": any(item["suspect"] for item in same),
                "withdrawn": any(item["withdrawn"] for item in same),
                "last_probe": min(probes, key=_age_of_probe, default=None),
            }
        )
    return found


def emptied_by(rungs: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return the stages that would have no usable rung without the rung of this name."""
    stages = {rung["stage"] for rung in rungs if rung["name"] == name}
    kept = {rung["stage"] for rung in rungs if rung["usable"] and rung["name"] != name}
    return sorted(stages - kept)


def _severity_rank(rung: Mapping[str, Any]) -> tuple[int, int]:
    return BEST_TO_WORST.index(rung["state"]), rung["failures"]


def _age_of_probe(probe: Mapping[str, Any]) -> float:
    return probe["ago_s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    """All rungs of a process, with their availability and probes."""

    stages: StagesSettings
    availability: AvailabilityTable
    probers: Sequence[Prober]
    emit: Emit
    clock: Clock
    board_client: BoardClient | None = None
    steps: Sequence[Step] = ()  # of the outage menu

    async def ask_first(self) -> list[str]:
        """Probe the rungs once, in parallel; return and log a sentence for each that failed.

        Called before any call is taken, so that a wrong key shows at startup. Waits for at most
        `FIRST_S`; a probe that takes longer continues in the background. Skips rungs that another
        process of the pool probes.
        """
        try:
            async with asyncio.timeout(FIRST_S):
                if self.board_client:
                    await self.board_client.synced.wait()
                own = [prober for prober in self.probers if prober.is_probing]
                for prober in own:
                    prober.reset()
                await asyncio.gather(*(prober.answered.wait() for prober in own))
        except TimeoutError:
            logger.info("not every provider has answered within {:g} s", FIRST_S)
        sentences = [
            f"{last.error}; {self._what_callers_get(prober)}"
            for prober in self.probers
            if (last := prober.last) and not last.ok
        ]
        for sentence in sentences:
            logger.warning("{}", sentence)
        return sentences

    def _what_callers_get(self, prober: Prober) -> str:
        """Return in words what callers get while this prober's rung does not work."""
        stage, name = prober.rung.stage, prober.rung.name
        local = prober.rung.kind == LOCAL  # then callers cannot be offered the local voice
        usable = self.availability.usable(stage, self.clock())
        others = [rung.provider for rung in usable if rung.provider != name]
        return callers_get(others, self.steps, stage="" if local else stage)

    @property
    def names(self) -> tuple[str, ...]:
        """The rungs' names."""
        return tuple(rung.name for _, rung in self.stages.rungs())

    def usable(self) -> dict[str, bool]:
        """Return for each stage whether any of its rungs may be used now."""
        now = self.clock()
        return {stage: bool(self.availability.usable(stage, now)) for stage in STAGES}

    def list_rungs(self) -> list[dict[str, Any]]:
        """Return every rung as JSON values, stage by stage, the preferred rung first."""
        now, probers = self.clock(), by_place(self.probers)
        ranks: dict[str, int] = {}
        found: list[dict[str, Any]] = []
        for stage, rung in self.stages.rungs():
            ranks[stage] = ranks.get(stage, 0) + 1
            about = {"stage": stage, "name": rung.name, "kind": rung.kind, "rank": ranks[stage]}
            state = _availability_as_json(self.availability.of(stage, rung.name), now)
            prober = probers.get((stage, rung.name))
            found.append(about | state | {"last_probe": _last_probe(prober, now)})
        return found

    def withdraw(self, name: str) -> None:
        """Take the rung of this name out of rotation; calls skip it from their next turn on.

        Nothing happens if there is no such rung.
        """
        self.availability.set_out(name, self.clock(), out=True)

    def put_back(self, name: str) -> None:
        """Put the rung of this name back into rotation; nothing happens if there is none."""
        self.availability.set_out(name, self.clock(), out=False)

    def reset(self, name: str) -> None:
        """Reset the rung of this name, so that it may be tried at once, and probe it soon.

        Emits how its breaker changes.

        Raises:
            KeyError: There is no such rung.
        """
        for event in self.availability.reset(name, self.clock()):
            self.emit(event)
        for prober in self.probers:
            if prober.availability.provider == name:
                prober.reset()


def _availability_as_json(rung: RungAvailability, now: float) -> dict[str, Any]:
    """Return a rung's availability as JSON values; durations and times left are in seconds."""
    availability, breaker = rung.at(now), rung.breaker
    return {
        "state": breaker.state.value,
        "usable": availability.usable,
        "suspect": rung.suspect_since is not None,
        "retired": rung.retired,
        "withdrawn": rung.out,
        "rests_s": _left_s(max(rung.rests_until, rung.doubted_until), now),
        "half_opens_in_s": None if breaker.wake_at is None else _left_s(breaker.wake_at, now),
        "failures": breaker.failures,
        "p50_s": round(availability.p50_s, 3) if rung.latency.is_measured else None,
        "p95_s": round(availability.p95_s, 3) if rung.latency.is_measured else None,
        "spent_s": {state.value: round(spent, 1) for state, spent in breaker.spent_s(now).items()},
    }


def _left_s(until: float, now: float) -> float:
    return round(max(0.0, until - now), 1)


def _last_probe(prober: Prober | None, now: float) -> dict[str, Any] | None:
    """Return a prober's newest probe as JSON values; `None` if there was none in this process."""
    last = prober.last if prober else None
    if last is None:
        return None
    return {
        "ago_s": round(now - last.at_s, 1),
        "real": last.real,
        "ok": last.ok,
        "took_s": round(last.took_s, 3),
        "error": last.error,
        "cure": cure_of(last.kind),
    }


PHONE_RATE_HZ: Final = 8000  # the sample rate of the speech in probes


@asynccontextmanager
async def watch_providers(
    settings: Settings,
    availability: AvailabilityTable,
    *,
    shared: Mapping[str, object],
    emit: Emit,
    lag: Lag | None = None,
    tools: Callable[[], tuple[Any, ...]] = tuple,
) -> AsyncIterator[ProviderView]:
    """Probe the rungs, run the breakers' timers and share health while the block runs.

    Args:
        settings: The configuration.
        availability: The table that all calls share; it is updated in place.
        shared: By rung name, the client that the rung's calls share and its probes use, too.
        emit: Emits the probes' results and the changes of breakers, suspicions and the board.
        lag: The event loop's lag monitor; `None` if lag is not measured.
        tools: Returns the schemas of the agents' tools, for probes after a refusal.

    Yields:
        The operator's view of the rungs.
    """
    async with (
        run_breaker_timers(availability, emit=emit, clock=clock.monotonic),
        share_health(settings, availability, emit=emit) as client,
    ):
        found = _make_probers(settings, availability, shared=shared, emit=emit, board_client=client)
        for prober in (probers := list(found)):
            prober.lag, prober.tools = lag or prober.lag, tools
        async with run_probers(probers, keep_running):
            yield ProviderView(
                stages=settings.stages,
                availability=availability,
                probers=probers,
                emit=emit,
                clock=clock.monotonic,
                board_client=client,
                steps=settings.hold.steps,
            )


def _make_probers(
    settings: Settings,
    availability: AvailabilityTable,
    *,
    shared: Mapping[str, object],
    emit: Emit,
    board_client: BoardClient | None,
) -> Iterator[Prober]:
    """Yield a prober for each rung; with a board, it probes only while this process leads."""
    for stage, rung in settings.stages.rungs():
        yield Prober(
            rung_of(
                rung,
                stage,
                agent=settings.agent,
                sample_rate_hz=PHONE_RATE_HZ,
                shared=shared.get(rung.name),
            ),
            availability=availability,
            settings=settings.resilience.probe_settings(),
            emit=emit,
            clock=clock.monotonic,
            leads=_leadership_check(board_client, places(settings)[stage, rung.name]),
            printable=printable,
        )


def _leadership_check(board_client: BoardClient | None, place: str) -> Callable[[], bool]:
    return functools.partial(board_client.leads, place) if board_client else lambda: True
