"""Health that all calls of an event loop share, whatever their ladders."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.stt_service import STTService

from fallbacks.breaker import State
from fallbacks.events import AttemptStarted, BreakerMoved, ProviderProbed
from fallbacks.failure import Kind, failed
from holdline import rung
from holdline.health import MAX_LADDERS, Health
from holdline.rungs import specs_of
from lab.drill.rows import HAIRCUT
from lab.simulators import faults
from lab.simulators.schedule import Window
from providers.catalog import provider
from providers.provider import RungSpec, Stage
from tests.holdline.stock_bot import stock_call
from tests.kit.near import steady_lab
from tests.kit.waiting import until

pytestmark = pytest.mark.virtual_time


class MoodyVoice(OpenAITTSService):
    """A developer's own voice, with a client that calls share."""

    def __init__(self, *, moods: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.moods = moods


class LoadingRecogniser(STTService):
    """A developer's own recogniser, with a model that calls share."""

    def __init__(self, *, api_key: str, moods: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._wanted = moods
        self._load()

    def _load(self) -> None:
        self.moods = self._wanted

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Any, None]:
        del audio
        yield None


class ProjectModel(OpenAILLMService):
    """A developer's own model."""


def _speed(service: Any) -> float:
    return service.settings.speed


def _timeout_s(service: Any) -> float:
    timeout = service._client.timeout
    return timeout if isinstance(timeout, float) else timeout.read


def _moods(service: Any) -> list[str]:
    return service.moods


def _project(service: Any) -> str:
    return service._client.project


def specs(*names: str, key: str = "KEY", url: str = "ws://127.0.0.1:9") -> tuple[RungSpec, ...]:
    return specs_of("tts", [rung("cartesia", name=name, api_key=key, url=url) for name in names])


def fail(health: Health, ladder: tuple[RungSpec, ...], name: str) -> None:
    """Let a rung fail for two calls, for good."""
    table = health.ladders(ladder).policies["tts"].availability
    for call in ("one", "two"):
        permit = table.of("tts", name).permit(time.monotonic())
        assert permit
        refused = failed(Kind.AUTH, "tts", provider=name)
        table.failed(permit, refused, now=time.monotonic(), call=call)


def states(health: Health, ladder: tuple[RungSpec, ...]) -> dict[str, State]:
    table = health.ladders(ladder).policies["tts"].availability
    return {rung.provider: rung.breaker.state for rung in table}


async def test_a_rung_is_the_same_one_in_another_ladder() -> None:
    health = Health(clock=time.monotonic)
    first, second = specs("a", "b", key="K1"), (*specs("c", key="K2"), *specs("a", key="K1"))
    health.ladders(second)
    fail(health, first, "a")

    assert states(health, second) == {"c": State.CLOSED, "a": State.OPEN}


@pytest.mark.parametrize(
    "other",
    [{"key": "K2"}, {"url": "ws://127.0.0.1:10"}],
    ids=["another key", "another address"],
)
async def test_a_rung_that_differs_is_not_blamed(other: dict[str, Any]) -> None:
    health = Health(clock=time.monotonic)
    own, others = specs("a", key="K1"), specs("a", **{"key": "K1", **other})
    health.ladders(others)
    fail(health, own, "a")

    assert states(health, others) == {"a": State.CLOSED}


@pytest.mark.parametrize(
    ("stage", "service", "name", "values", "read"),
    [
        ("tts", "openai", "speed", [0.8, 1.2], _speed),
        ("tts", "openai", "timeout_s", [3.0, 4.0], _timeout_s),
        ("tts", MoodyVoice, "moods", [["calm"], ["brisk"]], _moods),
        ("stt", LoadingRecogniser, "moods", [["calm"], ["brisk"]], _moods),
        ("llm", "openai", "timeout_s", [3.0, 4.0], _timeout_s),
        ("llm", ProjectModel, "project", ["one", "two"], _project),
    ],
)
async def test_calls_that_share_a_rungs_health_keep_their_own_arguments(
    stage: Stage, service: Any, name: str, values: list[Any], read: Callable[[Any], Any]
) -> None:
    health, found = Health(clock=time.monotonic), list[Any]()
    for value in values:
        ladder = specs_of(stage, [rung(service, api_key="K", **{name: value})])
        shared = health.ladders(ladder).client_of(ladder[0])
        spec = replace(ladder[0], shared=shared, sample_rate_hz=24000)
        found.append(read(provider(stage, spec.kind, spec.service).build(spec)))

    assert found == values
    assert len(health._ladders) == 1


async def test_ladders_without_calls_are_forgotten_beyond_a_limit() -> None:
    health = Health(clock=time.monotonic)
    used = specs("a", key="used")
    health.join(health.ladders(used), print)
    for number in range(MAX_LADDERS + 10):
        health.ladders(specs("a", key=f"K{number}"))

    assert len(health._ladders) <= MAX_LADDERS + 1
    kept = health.ladders(used)
    assert kept.users == 1
    await health.leave(kept, print)


async def test_what_calls_share_is_closed_when_it_is_forgotten_and_no_call_has_it() -> None:
    def model(key: str) -> tuple[RungSpec, ...]:
        return specs_of("llm", [rung("openai", api_key=key)])

    health, clients = Health(clock=time.monotonic), dict[str, Any]()
    before_its_start = health.ladders(model("made"))
    health.join(used := health.ladders(model("used")), print)
    for key in ("made", "used", "over"):
        clients[key] = health.ladders(model(key)).client_of(model(key)[0])
    for number in range(MAX_LADDERS):
        health.ladders(model(f"K{number}"))
    await asyncio.sleep(1.0)
    assert [key for key, client in clients.items() if client.is_closed()] == ["over"]
    del before_its_start
    await health.leave(used, print)
    await asyncio.sleep(1.0)

    assert [key for key, client in clients.items() if client.is_closed()] == ["made", "over"]


async def test_nothing_runs_after_the_last_call() -> None:
    health, heard = Health(clock=time.monotonic), list[Any]()
    ladders = health.ladders(specs("a"))
    before = asyncio.all_tasks()
    health.join(ladders, heard.append)
    health.join(ladders, print)
    await asyncio.sleep(1.0)
    await health.leave(ladders, print)
    assert asyncio.all_tasks() != before
    await health.leave(ladders, heard.append)

    assert asyncio.all_tasks() == before


async def test_a_call_is_told_of_its_own_rungs_alone() -> None:
    health, told = Health(clock=time.monotonic), {name: list[Any]() for name in ("a", "b")}
    ladders = {name: health.ladders(specs(name)) for name in told}
    for name, own in ladders.items():
        health.join(own, told[name].append)
    fail(health, specs("a"), "a")
    await asyncio.sleep(600.0)
    for name, own in ladders.items():
        await health.leave(own, told[name].append)

    assert {name: {event.provider for event in own} for name, own in told.items()} == {
        "a": {"a"},
        "b": {"b"},
    }
    assert {ProviderProbed, BreakerMoved} <= {type(event) for event in told["a"]}


async def test_the_second_call_asks_the_standby_first_and_a_probe_closes_the_breaker() -> None:
    async with steady_lab() as lab:
        lab.instance("openai").set_faults([Window(fault=faults.Http(status=401))])
        async with stock_call(lab) as first:
            await first.ask(HAIRCUT)
            await first.ask(HAIRCUT)
            async with stock_call(lab) as second:
                await second.ask(HAIRCUT)
                lab.instance("openai").set_faults([])
                assert second.call
                table = second.call._shared.policies["llm"].availability
                table.reset("openai", time.monotonic())  # instead of a minute and a half
                second.probe_all()
                await until(lambda: _closed(second.told), within_s=30.0)

    asked = [event.provider for event in second.facts(AttemptStarted) if event.stage == "llm"]
    assert asked == ["openai-b"]
    assert any(probe.provider == "openai" and probe.ok for probe in second.facts(ProviderProbed))


def _closed(told: list[Any]) -> bool:
    return any(isinstance(event, BreakerMoved) and event.after == "closed" for event in told)
