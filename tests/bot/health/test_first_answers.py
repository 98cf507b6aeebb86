"""Before the first call every provider is asked once: a wrong key is named, nothing blocks."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.health.policies import build_policies
from bot.health.view import FIRST_S, ProviderView, watch_providers
from bot.workers.process import load_providers
from calls.events import Event
from calls.incident import IncidentBegan
from configuration.settings import Settings
from fallbacks.events import ProviderProbed
from lab.simulators import faults
from lab.simulators.schedule import Window
from runtime import clock
from tests.kit.near import Notes, near_process, near_server, running, steady_lab
from tests.kit.waiting import until

pytestmark = pytest.mark.virtual_time

WRONG = {
    name: {"api_key": "not-the-key", "api_key_env": f"{name.upper().replace('-', '_')}_KEY"}
    for name in ("deepgram", "deepgram-b", "openai", "openai-b", "cartesia", "elevenlabs")
}
VENDORS = {
    "deepgram": "Deepgram",
    "openai": "OpenAI",
    "cartesia": "Cartesia",
    "elevenlabs": "ElevenLabs",
}
MENU = "callers will get the keypad menu"
LOCAL_VOICE = "callers will hear the local voice"


def instead_of(name: str) -> str:
    return LOCAL_VOICE if name in ("cartesia", "elevenlabs") else MENU


def rejects(name: str) -> str:
    kind, _, is_second = name.partition("-")
    title = f"{VENDORS[kind]} ({name})" if is_second else VENDORS[kind]
    return f"{title} rejects {WRONG[name]['api_key_env']} (401)"


async def test_each_wrong_key_is_named_with_what_callers_get(tmp_path: Path) -> None:
    async with near_process(tmp_path, rungs=WRONG) as process:
        sentences = await process.providers.ask_first()

        assert sorted(sentences) == sorted(f"{rejects(name)}; {instead_of(name)}" for name in WRONG)
        assert "not-the-key" not in str(sentences)
        assert process.providers.usable() == {"stt": False, "llm": False, "tts": False}


async def test_a_standby_takes_the_place_of_the_only_rung_with_a_wrong_key(tmp_path: Path) -> None:
    notes = Notes()
    async with near_process(tmp_path, notes, rungs={"openai": WRONG["openai"]}) as process:
        assert await process.providers.ask_first() == [
            f"{rejects('openai')}; openai-b is used instead"
        ]
        assert {probe.provider for probe in notes.of(ProviderProbed)} >= set(WRONG)


@pytest.mark.parametrize(
    "fault", [faults.Refuse(), faults.Silent(), faults.SlowStart(delay_s=60.0)]
)
async def test_a_provider_that_does_not_answer_delays_the_start_by_3_s_at_most(
    tmp_path: Path, fault: Any
) -> None:
    broken = {"openai": [Window(fault=fault)], "deepgram": [Window(fault=fault)]}
    async with near_process(tmp_path, lab=steady_lab(faults=broken)) as process:
        began_s = clock.monotonic()
        sentences = await process.providers.ask_first()

        assert clock.monotonic() - began_s <= FIRST_S
        assert not any("rejects" in sentence for sentence in sentences)
        assert all(process.providers.usable().values())  # no proof that they are down


async def test_without_probes_no_provider_is_asked(tmp_path: Path) -> None:
    tree = {"resilience": {"probe": {"interval_s": 0}}}
    async with near_process(tmp_path, rungs=WRONG, tree=tree) as process:
        began_s = clock.monotonic()
        assert await process.providers.ask_first() == []
        assert clock.monotonic() == began_s


async def test_only_one_process_of_a_pool_checks_the_keys_and_the_others_do_not_wait(
    tmp_path: Path,
) -> None:
    async with steady_lab() as lab:
        tree = {"resilience": {"share": f"sqlite:///{tmp_path}/board.db"}}
        settings = Settings.model_validate({"stages": running(lab).stages, **tree})
        await asyncio.to_thread(load_providers, settings)
        told: list[Event] = []

        async with watching(settings, told) as first, watching(settings, told) as second:
            await first.ask_first()
            began_s = clock.monotonic()
            await second.ask_first()
            assert clock.monotonic() - began_s < 1.0

    asked = [probe.provider for probe in told if isinstance(probe, ProviderProbed)]
    assert sorted(asked) == sorted(rung.name for _, rung in settings.stages.rungs())


def watching(settings: Settings, told: list[Event]) -> AbstractAsyncContextManager[ProviderView]:
    availability = build_policies(settings, clock.monotonic())["llm"].availability
    return watch_providers(settings, availability, shared={}, emit=told.append)


async def test_readiness_and_the_alert_report_refused_keys_before_the_first_call(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lab = steady_lab()
        async with lab:
            tree: dict[str, Mapping[str, Any]] = {}
            async with near_server(listener, notes, lab=lab, folder=tmp_path, tree=tree) as server:
                lab.instances["openai"].set_faults([Window(fault=faults.Http(status=401))])
                lab.instances["openai-b"].set_faults([Window(fault=faults.Http(status=401))])
                sentences = await server.providers.ask_first()
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/readyz"
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    ready = await answer.json()
                await until(lambda: len(notes.of(IncidentBegan)) >= 2, within_s=5.0)

    assert ready == {"ready": True, "degraded": True, "reasons": ["llm_down"]}
    reasons = {item.rung: item.reason for item in notes.of(IncidentBegan) if item.rung}
    assert sorted(f"{reason}; {MENU}" for reason in reasons.values()) == sorted(sentences)
