"""Probes of suspect rungs against the lab, without live callers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema

from calls.events import Event
from fallbacks.availability import AvailabilityTable, Place, RungAvailability
from fallbacks.breaker import BreakerSettings, State
from fallbacks.events import (
    AttemptFailed,
    BreakerMoved,
    ProviderProbed,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import Kind, failed
from fallbacks.probing import ProbeSettings
from lab.process import STAGE_OF
from lab.simulators import faults
from lab.simulators.instance import Core, Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.schedule import Window
from operations.keep_running import keep_running
from providers.catalog import PROVIDERS
from providers.prober import LAG, Prober, run_probers
from providers.provider import RungSpec
from runtime import clock
from tests.lab.simulators.near_ears import bring_near
from tests.providers.scripted_model import chunk, moderating
from tests.virtual_time import VirtualLoop

pytestmark = pytest.mark.virtual_time

SOON = ProbeSettings(interval_s=60.0, timeout_s=2.0, steps_s=(0.01, 0.02))
OFTEN = ProbeSettings(interval_s=0.01, timeout_s=2.0, steps_s=(0.01, 0.02))
WITHIN_S = 8.0  # far longer than anything takes, also on a busy machine


class Ward:
    """Probed rungs and their events."""

    def __init__(self, peers: list[Instance], settings: ProbeSettings, **changes: Any) -> None:
        self.peers = peers
        self.told: list[Event] = []
        self.more = asyncio.Event()
        self.availability = AvailabilityTable(
            [
                Place(stage=STAGE_OF[peer.kind], provider=peer.name, credential="one key")
                for peer in peers
            ],
            now=clock.monotonic(),
            settings=BreakerSettings(),
        )
        self.probers = [
            Prober(
                rung_of(peer, **changes),
                availability=self.availability,
                settings=settings,
                emit=self._emit,
                clock=clock.monotonic,
            )
            for peer in peers
        ]

    @property
    def rung(self) -> RungAvailability:
        return self.probers[0].availability

    def all(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    def fails(self, kind: Kind) -> None:
        """Let a live attempt fail."""
        now, rung = clock.monotonic(), self.rung
        permit = rung.permit(now)
        assert permit is not None
        failure = failed(kind, rung.stage, provider=rung.provider)
        for fact in self.availability.failed(permit, failure, now=now):
            self._emit(fact)

    async def until(self, met: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not met():
                self.more.clear()
                await self.more.wait()

    def _emit(self, event: Event) -> None:
        self.told.append(event)
        self.more.set()


def rung_of(peer: Instance, **changes: Any) -> RungSpec:
    given = {"name": peer.name, "stage": STAGE_OF[peer.kind], "kind": peer.kind, "url": peer.url}
    return RungSpec(**{**given, "sample_rate_hz": 8000, "api_key": peer.api_key, **changes})


def load() -> None:
    """Import the probes, as the process does before it opens."""
    for provider in PROVIDERS:
        provider.load()


@asynccontextmanager
async def ward(
    settings: ProbeSettings, *names: str, kind: str = "openai", **changes: Any
) -> AsyncIterator[Ward]:
    specs = [Spec(name=name, kind=kind) for name in names or ("it",)]
    async with bring_near(Lab(specs, speed=20.0)) as lab:
        made = Ward(list(lab.instances.values()), settings, **changes)
        await asyncio.to_thread(load)
        async with run_probers(made.probers, keep_running):
            yield made


async def test_a_healthy_suspect_rung_is_cleared_by_one_real_probe() -> None:
    async with ward(SOON) as sick:
        sick.fails(Kind.TIMEOUT)

        await sick.until(lambda: sick.all(SuspicionCleared))

        (probed,) = sick.all(ProviderProbed)
        assert probed.real
        assert probed.ok
        assert not sick.rung.suspect_since


async def test_three_failures_open_the_breaker_and_probes_close_it_after_recovery() -> None:
    async with ward(SOON) as sick:
        (peer,) = sick.peers
        peer.set_faults([Window(fault=faults.Http(status=503))])
        sick.fails(Kind.OVERLOADED)
        await sick.until(lambda: sick.rung.breaker.state is State.OPEN)
        peer.clear()

        await sick.until(lambda: sick.rung.breaker.state is State.CLOSED)

        moves = [(item.before, item.after, item.cause) for item in sick.all(BreakerMoved)]
        assert moves == [
            ("closed", "open", "failures"),
            ("open", "half_open", "probe"),
            ("half_open", "closed", "proven"),
        ]
        assert sick.rung.at(clock.monotonic()).usable


async def test_only_probes_reach_a_rung_while_its_breaker_is_open() -> None:
    async with ward(SOON) as sick:
        sick.peers[0].set_faults([Window(fault=faults.Refuse())])
        for _ in range(3):
            sick.fails(Kind.NETWORK)

        assert sick.rung.permit(clock.monotonic()) is None
        await sick.until(lambda: len(sick.all(ProviderProbed)) >= 2)
        assert sick.rung.breaker.state is State.OPEN
        assert not any(item.ok for item in sick.all(ProviderProbed))


async def test_only_one_probe_runs_at_a_time() -> None:
    async with ward(SOON) as sick:
        sick.peers[0].set_faults([Window(fault=faults.SlowStart(delay_s=8.0))])  # 0.4 s of our own
        sick.fails(Kind.TIMEOUT)

        await sick.until(lambda: sick.all(ProviderProbed))

        assert len(sick.peers[0].record.requests("it")) == 1


@pytest.mark.parametrize(
    ("after_s", "stall_s", "failures"),
    [(0.0, 0.0, 2), (0.5, 1.6, 1), pytest.param(0.05, 1.2, 1, id="with-time-to-read-what-came")],
)
@pytest.mark.parametrize("kind", ["deepgram", "openai", "cartesia"])
async def test_a_silent_open_stream_that_our_own_lag_delayed_proves_nothing(
    kind: str, after_s: float, stall_s: float, failures: int
) -> None:
    async with ward(SOON, kind=kind) as sick:
        lag, peer = sick.probers[0].lag, sick.peers[0]
        # A mute recogniser still answers the probe: only its silence shows that it is mute.
        mute = faults.Silent() if kind == "deepgram" else faults.Alive()
        peer.set_faults([Window(fault=mute)])
        lag.beat(clock.monotonic())
        sick.fails(Kind.TIMEOUT)
        open_for_s = 0.0
        while not sick.all(ProviderProbed):
            await asyncio.sleep(0.02)
            lag.beat(clock.monotonic())
            open_for_s += 0.02 if peer.record.requests("it") else 0.0
            if stall_s and open_for_s > after_s:  # of 2 s
                cast("VirtualLoop", asyncio.get_running_loop()).clock.now += stall_s
                stall_s = 0.0

        assert not sick.all(ProviderProbed)[0].ok
        assert (sick.all(ProviderProbed)[0].error == LAG) == (failures == 1)
        assert sick.rung.breaker.failures == failures


async def test_a_healthy_rung_gets_the_cheap_probe_only() -> None:
    async with ward(OFTEN) as well:
        await well.until(lambda: len(well.all(ProviderProbed)) >= 2)

        assert not any(item.real for item in well.all(ProviderProbed))
        asked = {request.path for request in well.peers[0].record.requests("it")}
        assert asked == {"/v1/models"}


class Restricted(OpenAISimulator):
    """A key that may create answers but not list the models."""

    async def _list_models(self, request: web.Request) -> web.Response:
        await self.admit(request)
        return self.error_response(403)


async def test_a_key_that_may_not_use_the_cheap_probe_is_not_a_failure() -> None:
    peer = Restricted("it", core=Core(speed=20.0))
    await peer.start()
    well = Ward([peer], OFTEN)
    async with run_probers(well.probers, keep_running):
        await well.until(lambda: len(well.all(ProviderProbed)) >= 3)
    await peer.stop()

    asked = [request.path for request in peer.record.requests("it")]
    assert set(asked[1:]) == {"/v1/chat/completions"}  # the cheap request never again
    assert asked[0] == "/v1/models"
    assert all(item.ok and item.real for item in well.all(ProviderProbed))
    assert not well.all(Suspected)


async def test_a_rung_without_a_cheap_request_is_probed_for_real_from_the_start() -> None:
    local = RungSpec(name="local", stage="tts", kind="local", url="", sample_rate_hz=8000)
    told: list[Event] = []
    table = AvailabilityTable(
        [Place(stage="tts", provider="local", credential="")],
        now=clock.monotonic(),
        settings=BreakerSettings(),
    )
    prober = Prober(
        local, availability=table, settings=OFTEN, emit=told.append, clock=clock.monotonic
    )
    prober.reset()
    async with run_probers([prober], keep_running):
        async with asyncio.timeout(WITHIN_S):
            await prober.answered.wait()

    probes = [event for event in told if isinstance(event, ProviderProbed)]
    assert all(probe.real for probe in probes)


async def test_a_rung_whose_probes_send_nothing_stays_refused() -> None:
    mute = RungSpec(name="mute", stage="tts", kind="local", url="", sample_rate_hz=8000)
    table = AvailabilityTable(
        [Place(stage="tts", provider="mute", credential="")],
        now=clock.monotonic(),
        settings=BreakerSettings(),
    )
    told: list[Event] = []
    broke = replace(OFTEN, daily_cost=0.0)  # no real probe is affordable
    prober = Prober(
        mute, availability=table, settings=broke, emit=told.append, clock=clock.monotonic
    )
    permit = prober.availability.permit(clock.monotonic())
    assert permit is not None
    refused = failed(Kind.AUTH, "tts", provider="mute")
    table.failed(permit, refused, now=clock.monotonic())
    prober.reset()
    async with run_probers([prober], keep_running):
        await asyncio.sleep(60.0)

    assert prober.availability.retired
    assert not [event for event in told if isinstance(event, ProviderProbed)]
    assert prober.last is None


async def test_a_probe_that_sends_no_request_does_not_clear_a_suspicion() -> None:
    peer = Restricted("it", core=Core(speed=20.0))
    await peer.start()
    sick = Ward([peer], replace(OFTEN, daily_cost=0.0))  # no real probe of a doubted rung
    async with run_probers(sick.probers, keep_running):
        await sick.until(lambda: sick.all(ProviderProbed))  # the cheap request is not permitted
        sick.fails(Kind.TIMEOUT)
        probed = len(sick.all(ProviderProbed))
        await asyncio.sleep(60.0)

        assert sick.rung.suspect_since is not None
        assert len(sick.all(ProviderProbed)) == probed
    await peer.stop()


async def test_a_healthy_rung_whose_server_is_gone_is_detected_before_a_caller_asks() -> None:
    async with ward(OFTEN) as sick:
        sick.peers[0].set_faults([Window(fault=faults.Refuse())])

        await sick.until(lambda: sick.rung.breaker.state is State.OPEN)

        assert sick.all(Suspected)[0].kind is Kind.NETWORK


async def test_a_refused_key_takes_out_all_rungs_that_share_it_and_probing_continues() -> None:
    async with ward(SOON, "it", "other", api_key="not-the-key") as sick:
        sick.fails(Kind.TIMEOUT)
        await sick.until(lambda: len(sick.all(BreakerMoved)) == 2)
        await sick.until(lambda: len(sick.all(ProviderProbed)) > 4)

        assert {attempt.provider for attempt in sick.all(BreakerMoved)} == {"it", "other"}
        assert all(prober.availability.retired for prober in sick.probers)
        assert "not-the-key" not in str(sick.told)


async def test_an_operator_need_not_wait_for_the_slow_probe() -> None:
    async with ward(SOON) as sick:
        sick.peers[0].set_faults([Window(fault=faults.Http(status=401))])
        sick.fails(Kind.TIMEOUT)
        await sick.until(lambda: sick.rung.retired)
        sick.peers[0].clear()

        for fact in sick.availability.reset("it", clock.monotonic()):
            sick._emit(fact)
        sick.probers[0].reset()
        await sick.until(lambda: sick.rung.breaker.state is State.CLOSED)

        assert not sick.rung.retired
        assert sick.rung.suspect_since is None


async def test_a_probe_in_progress_is_cancelled_at_the_end() -> None:
    async with ward(SOON) as sick:
        sick.peers[0].set_faults([Window(fault=faults.Silent())])
        sick.fails(Kind.TIMEOUT)
        async with asyncio.timeout(WITHIN_S):
            while not sick.peers[0].record.requests("it"):  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)

    assert not sick.all(ProviderProbed)


@pytest.mark.slow
async def test_the_next_call_uses_a_rung_within_5_s_of_its_first_good_probe() -> None:
    async with ward(ProbeSettings()) as sick:
        sick.peers[0].set_faults([Window(fault=faults.Http(status=503))])
        for _ in range(3):
            sick.fails(Kind.OVERLOADED)
        sick.peers[0].clear()

        await sick.until(lambda: sick.all(ProviderProbed))
        began_s = clock.monotonic()
        await sick.until(lambda: sick.rung.at(clock.monotonic()).usable)

        assert clock.monotonic() - began_s <= 5.0


@pytest.mark.parametrize("served", [False, True])
async def test_a_failed_probe_is_reported_as_a_failure_unless_a_caller_was_just_served(
    *, served: bool
) -> None:
    async with ward(SOON) as sick:
        if served:
            permit = sick.rung.permit(clock.monotonic())
            assert permit
            sick.rung.succeeded(permit, clock.monotonic())
        sick.peers[0].set_faults([Window(fault=faults.Http(status=401))])
        sick.rung.suspect(Kind.TIMEOUT, clock.monotonic())
        await sick.until(lambda: any(not probe.ok for probe in sick.all(ProviderProbed)))
        told = [
            (failure.kind, failure.attempt, failure.after_s) for failure in sick.all(AttemptFailed)
        ]

        assert told == ([] if served else [(Kind.AUTH, 0, 0.0)])
        assert all(failure.reason.startswith("probe: ") for failure in sick.all(AttemptFailed))
        assert sick.rung.retired is not served


@pytest.mark.parametrize(("kind", "carries"), [(Kind.BAD_REQUEST, True), (Kind.TIMEOUT, False)])
async def test_a_probe_offers_the_agents_tools_once_a_request_was_refused(
    kind: Kind, *, carries: bool
) -> None:
    tool = FunctionSchema(name="note", description="It.", properties={}, required=[])
    asked: list[bool] = []

    def refuses(body: dict[str, Any]) -> bool:
        asked.append("tools" in body)
        return asked[-1]

    words = [chunk({"content": "yes"}), chunk({}, "stop")]
    async with moderating(refuses, 400, lambda _: words) as url, ward(SOON, url=url) as sick:
        sick.probers[0].tools = lambda: (tool,)
        sick.fails(kind)
        await sick.until(lambda: sick.all(ProviderProbed))
        (probed, *_) = sick.all(ProviderProbed)

        assert asked[0] is carries
        assert probed.ok is not carries
        assert ("the tool note" in probed.error) is carries
        assert bool(sick.rung.suspect_since) is carries  # it is not said to be over
