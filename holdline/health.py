"""The health of the rungs, shared by all calls of an event loop.

Two calls share a rung if its service, address, key, model, voice, language and name are equal, even
if their ladders differ. Rungs are probed while a call uses them. A call that gives a rung other
settings or arguments than the first one builds its service for itself.
"""

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary, finalize, ref

from loguru import logger

from calls.entry import Emit
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.ladder import StagePolicy
from fallbacks.lag import PERIOD_S, Lag
from fallbacks.paces import PACES, PRIORS_S, THEN_S
from fallbacks.probing import ProbeSettings
from providers.catalog import provider
from providers.prober import Prober
from providers.provider import RungSpec, Stage
from runtime.clock import Clock

Identity: TypeAlias = tuple[str, ...]
"""Equal for the same rung in two calls."""

STAGES: Final[tuple[Stage, ...]] = ("stt", "llm", "tts")
MADE_FROM: Final[Mapping[Stage, Sequence[str]]] = {
    "stt": ("init", "options", "timeout_s"),
    "llm": ("init", "timeout_s"),  # only a client, which gets the options with each request
    "tts": ("init", "options", "timeout_s"),
}
"""The parts of a rung that what calls share was made from, besides those of its identity."""
MAX_LADDERS: Final = 64  # remembered without a call that uses them (chosen)
PROBE_RATE_HZ: Final = 8000  # of the speech in probes
AGAIN_S: Final = 5.0  # before probing that failed runs again (chosen)


@dataclass(eq=False)
class UsedRung:
    """A rung, and the listeners of the calls that use it; it is probed while there are any."""

    prober: Prober
    listeners: list[Emit]
    probing: asyncio.Task[None] | None = None


@dataclass(eq=False)
class SharedLadders:
    """The policies and the rungs of all calls with the same ladders."""

    policies: Mapping[Stage, StagePolicy]
    rungs: Sequence[UsedRung]
    users: int = 0

    def client_of(self, spec: RungSpec) -> Any:
        """Return the resource that all calls of a rung share; `None` if there is none.

        `None`, too, for a call whose arguments differ from those that the resource was made from.
        """
        found = (rung.prober.rung for rung in self.rungs)
        own = next(own for own in found if (own.stage, own.name) == (spec.stage, spec.name))
        is_same = all(getattr(own, item) == getattr(spec, item) for item in MADE_FROM[spec.stage])
        return own.shared if is_same else None


class Health:
    """The health of all rungs that calls of one event loop use, or have used."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lag = Lag()
        self._ladders: dict[tuple[Identity, ...], SharedLadders] = {}
        self._rungs = WeakValueDictionary[Identity, UsedRung]()
        self._beating: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def ladders(self, specs: Sequence[RungSpec]) -> SharedLadders:
        """Return what all calls with these rungs share.

        The first call imports the rungs' modules and makes their clients, which blocks. Above
        `MAX_LADDERS`, the oldest ladders without a call are forgotten. What the calls of a rung
        share is closed once all ladders with it are forgotten, and no call has one of them.
        """
        key = tuple(_identity_of_rung(spec) for spec in specs)
        known = self._ladders.pop(key, None) or self._make_ladders(
            dict(zip(key, specs, strict=True))
        )
        unused = [key for key, item in self._ladders.items() if not item.users]
        for oldest in unused[: max(0, len(self._ladders) + 1 - MAX_LADDERS)]:
            del self._ladders[oldest]
        self._ladders[key] = known
        return known

    def join(self, ladders: SharedLadders, emit: Emit) -> None:
        """Probe a call's rungs from now on, until `leave`.

        `emit` gets the results of probes of these rungs, and how their health changes without the
        call. They are no events of the call: a failed probe is no failed request of it.
        """
        ladders.users += 1
        loop = asyncio.get_running_loop()
        self._beating = self._beating or loop.create_task(self._measure_lag_and_tick(), name="beat")
        for rung in ladders.rungs:
            rung.listeners.append(emit)
            rung.probing = rung.probing or loop.create_task(_keep_probing(rung.prober))

    async def leave(self, ladders: SharedLadders, emit: Emit) -> None:
        """End what `join` began, unless other calls need it; wait until it has ended.

        The clients that calls share stay open for later calls; see `ladders`.
        """
        ladders.users -= 1
        ended: list[asyncio.Task[None] | None] = []
        for rung in ladders.rungs:
            rung.listeners.remove(emit)
            if not rung.listeners:
                ended.append(rung.probing)
                rung.probing = None
        if not any(rung.listeners for rung in self._rungs.values()):
            ended.append(self._beating)
            self._beating = None
            self._lag.stop()
        running = [task for task in ended if task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *self._closing, return_exceptions=True)

    def _make_ladders(self, specs: Mapping[Identity, RungSpec]) -> SharedLadders:
        """Return new ladders; rungs that other ladders have, too, keep their health and prober."""
        known = [rung.prober for name in specs if (rung := self._rungs.get(name))]
        table = AvailabilityTable(
            [
                Place(stage=s.stage, provider=s.name, credential=_key_fingerprint(s))
                for s in specs.values()
            ],
            now=self._clock(),
            priors_s=PRIORS_S,
            known={(item.rung.stage, item.rung.name): item.availability for item in known},
        )
        rungs = [
            self._rungs.get(name) or self._make_used_rung(spec, table)
            for name, spec in specs.items()
        ]
        self._rungs.update(zip(specs, rungs, strict=True))
        voices = [spec for spec in specs.values() if spec.stage == "tts"]
        return SharedLadders({s: self._stage_policy(s, table, voices) for s in STAGES}, rungs)

    def _make_used_rung(self, spec: RungSpec, table: AvailabilityTable) -> UsedRung:
        """Return a new rung, after importing its modules and making what its calls share; blocks.

        What they share is closed in this event loop once nothing refers to the rung.
        """
        spec = replace(spec, sample_rate_hz=PROBE_RATE_HZ)
        vendor = provider(spec.stage, spec.kind, spec.service)
        vendor.load()  # now, and not while a caller waits
        spec = replace(spec, shared=vendor.share(spec))
        listeners: list[Emit] = []
        prober = Prober(
            spec,
            availability=table,
            settings=ProbeSettings(),
            emit=partial(_emit_to, listeners),
            clock=self._clock,
        )
        prober.lag = self._lag
        rung = UsedRung(prober, listeners)
        if spec.shared is not None:
            loop = ref(asyncio.get_running_loop())
            finalize(rung, _close_later, spec, loop, self._closing).atexit = False
        return rung

    def _stage_policy(
        self, stage: Stage, table: AvailabilityTable, voices: Sequence[RungSpec]
    ) -> StagePolicy:
        return StagePolicy(
            stage=stage,
            availability=table,
            pace=PACES[stage],
            lag=self._lag,
            untimed=frozenset(spec.name for spec in voices if not spec.facts.word_times),
            clauses={spec.name: rule for spec in voices if (rule := spec.facts.clause)},
            then_s=THEN_S[stage],
            chance=random.random,
        )

    async def _measure_lag_and_tick(self) -> None:
        """Measure our own stalls, and let open breakers become half-open on time.

        Repeated every `PERIOD_S` until cancelled; the listeners of a rung get its changes.
        """
        while True:
            self._lag.beat(self._clock())
            for rung in tuple(self._rungs.values()):
                for event in rung.prober.availability.breaker.tick(self._clock()):
                    _emit_to(rung.listeners, event)
            await asyncio.sleep(PERIOD_S)


_HEALTH: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, Health]()


def health_here(*, clock: Clock) -> Health:
    """Return the health that all calls of the running event loop share.

    The first call makes it, with its `clock` (monotonic, in seconds); later clocks are ignored.

    Raises:
        RuntimeError: None is running.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("Ladders: make it in a coroutine, as it needs the event loop") from None
    return _HEALTH.setdefault(loop, Health(clock=clock))


def _emit_to(listeners: Sequence[Emit], event: Any) -> None:
    for listener in tuple(listeners):
        listener(event)


def _close_later(
    spec: RungSpec, loop: ref[asyncio.AbstractEventLoop], closing: set[asyncio.Task[None]]
) -> None:
    """Close what a rung's calls shared, in its event loop; may be called in any thread."""

    def begin() -> None:
        task = asyncio.get_running_loop().create_task(_close_shared(spec))
        closing.add(task)
        task.add_done_callback(closing.discard)

    its_loop = loop()
    if its_loop is not None and not its_loop.is_closed():
        its_loop.call_soon_threadsafe(begin)


async def _close_shared(spec: RungSpec) -> None:
    try:
        await spec.shared.close()
    except Exception as error:  # noqa: BLE001 - a vendor's code, which no call needs any more
        logger.warning("{}: closing it raised {}", spec.name, type(error).__name__)


async def _keep_probing(prober: Prober) -> None:
    """Probe until cancelled; begin again after an error, which is logged."""
    while True:
        try:
            await prober.run()
        except Exception as error:  # noqa: BLE001 - the top of a task: calls go on without it
            logger.opt(exception=error).error("probing {} failed", prober.rung.name)
        await asyncio.sleep(AGAIN_S)


def _identity_of_rung(spec: RungSpec) -> Identity:
    place = (spec.stage, spec.name, spec.kind, spec.service, spec.url, _key_fingerprint(spec))
    return (*place, spec.model or "", spec.voice or "", spec.language)


def _key_fingerprint(spec: RungSpec) -> str:
    """Return the vendor and a hash of the key, equal if rungs share it; empty without a key."""
    if not spec.api_key:
        return ""
    vendor = provider(spec.stage, spec.kind, spec.service).title.lower()
    return f"{vendor}:{hashlib.sha256(spec.api_key.encode()).hexdigest()[:16]}"
