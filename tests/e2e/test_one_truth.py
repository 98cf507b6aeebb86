"""The headline, `/readyz`, the providers, the alerts and the evidence agree about an outage.

Over an outage that is there at the start, a reload with mended keys, a provider that flaps, and a
restart. No caller is needed: the probes find out.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from playwright.async_api import Page, async_playwright

from configuration.loading import load
from lab.process import RunningLab, lab_process
from operations.postmortem.command import write_evidence
from tests.bot.serving import Served, configuration, free_port, serving
from tests.e2e.browser import ALLOWED, chromium, need_chromium

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]

MODELS = {"openai", "openai-b"}
FOUND_S = 180.0  # a guard: probes find out in 5 s, but workers load long on a busy machine
AGREE_S = 120.0  # a suspected rung is watched for 30 s before its incident is over
APART_S = 12.0  # between two failures of the flapping provider
CHANGES: dict[str, Any] = {
    "server": {"workers": 2},
    "alerts": {"hold_s": 0},
    "hold": {"render": False},
    "resilience": {
        "probe": {"interval_s": 5, "timeout_s": 2},
        "breaker": {"failures": 1, "open_s": 3, "successes": 1},
    },
}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What each place says at a moment."""

    headline: str
    tone: str
    ready: dict[str, Any]
    unusable: set[str]
    alerts: list[dict[str, Any]]

    @property
    def open(self) -> set[str]:
        return {alert["provider"] or alert["stage"] for alert in self.alerts if is_open(alert)}

    @property
    def well(self) -> tuple[bool, ...]:
        """What each says to the question whether all is well."""
        ready = self.ready["ready"] and not self.ready["degraded"]
        return (self.tone == "good", ready, not self.unusable, not self.open)


def is_open(alert: dict[str, Any]) -> bool:
    return alert["status"] == "open"


async def told(page: Page, url: str) -> Told:
    async with aiohttp.ClientSession(url) as session:

        async def said(path: str) -> Any:
            async with session.get(path) as answer:
                return await answer.json()

        ready, rungs = await said("/readyz"), await said("/api/providers")
        alerts = await said("/api/alerts")
    line = page.locator(".headline")
    return Told(
        headline=await line.inner_text(),
        tone=await line.get_attribute("data-tone") or "",
        ready=ready,
        unusable={rung["name"] for rung in rungs if not rung["usable"]},
        alerts=alerts,
    )


async def until_agreed(
    page: Page, url: str, holds: Callable[[Told], bool], *, within_s: float
) -> Told:
    """Return what all say once they say this; fail with the latest if they do not."""
    latest: list[Told] = []

    async def agreed() -> bool:
        try:
            latest.append(await told(page, url))
        except aiohttp.ClientError:  # a worker is being replaced
            return False
        return holds(latest[-1])

    try:
        async with asyncio.timeout(within_s):
            while not await agreed():  # noqa: ASYNC110 - the server has no event for us
                await asyncio.sleep(0.3)
    except TimeoutError:
        pytest.fail(f"they do not agree: {latest[-1:]}")
    return latest[-1]


def all_well(said: Told) -> bool:
    return all(said.well)


def models_down(said: Told) -> bool:
    headline = "Language model" in said.headline and said.tone == "bad"
    known = said.unusable >= MODELS and {*MODELS, "llm"} <= said.open
    return headline and known and "llm_down" in said.ready["reasons"]


def voice_down(said: Told) -> bool:
    return "cartesia" in said.open and "cartesia" in said.headline


def with_keys(lab: RunningLab, folder: Path, variable: str | None) -> dict[str, Any]:
    """Return the stages; the models' key is in this variable, or in their own."""
    stages = configuration(lab, 0, folder / "logs")[0]["stages"]
    for rung in stages["llm"] if variable else ():
        rung["api_key_env"] = variable
    return stages


async def break_voice(lab: RunningLab, *, broken: bool) -> None:
    headers = {"Authorization": f"Bearer {lab.control_token}"}
    address = f"{lab.control_url}/instances/cartesia/faults"
    faults = [{"fault": "refuse"}] if broken else []
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(address, json=faults) as answer,
    ):
        assert answer.status < 300, await answer.text()


async def reload(served: Served) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/api/reload", json={}) as answer,
    ):
        assert answer.status == 202, await answer.text()


async def mend_keys(lab: RunningLab, folder: Path, served: Served) -> None:
    """Write the right keys into the configuration, and reload it."""
    config = folder / "holdline.yaml"
    tree = yaml.safe_load(config.read_text())
    tree["stages"] = with_keys(lab, folder, None)
    config.write_text(yaml.safe_dump(tree))
    await reload(served)


async def flap(page: Page, lab: RunningLab, served: Served) -> None:
    """Let a voice fail twice, and be well in between."""
    for _ in range(2):
        await break_voice(lab, broken=True)
        broken = await until_agreed(page, served.url, voice_down, within_s=FOUND_S)
        assert "elevenlabs" in alert_of(broken)["instead"]
        await break_voice(lab, broken=False)
        await until_agreed(page, served.url, all_well, within_s=FOUND_S)
        await asyncio.sleep(APART_S)


def alert_of(said: Told) -> dict[str, Any]:
    (alert,) = [item for item in said.alerts if item["provider"] == "cartesia"]
    return alert


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def watched(playwright: Any, served: Served, stack: AsyncExitStack) -> Page:
    browser = await stack.enter_async_context(chromium(playwright, ALLOWED))
    page = await browser.new_page()
    await page.goto(served.url)
    return page


async def test_all_agree_over_outage_reload_flap_and_restart(tmp_path: Path, network: None) -> None:
    need_chromium()
    port, keys = free_port(), {"WRONG_KEY": "sk-not-a-key"}
    async with lab_process() as lab, async_playwright() as playwright, AsyncExitStack() as stack:
        wrong = CHANGES | {"stages": with_keys(lab, tmp_path, "WRONG_KEY")}
        async with serving(lab, tmp_path, changes=wrong, environment=keys, port=port) as served:
            page = await watched(playwright, served, stack)
            await until_agreed(page, served.url, models_down, within_s=FOUND_S)
            await mend_keys(lab, tmp_path, served)
            await until_agreed(page, served.url, all_well, within_s=FOUND_S)
            await flap(page, lab, served)
            flapped = alert_of(await told(page, served.url))
        right = CHANGES | {"stages": with_keys(lab, tmp_path, None)}
        async with serving(lab, tmp_path, changes=right, environment=keys, port=port) as served:
            page = await watched(playwright, served, stack)
            await until_agreed(page, served.url, all_well, within_s=AGREE_S)
        settings = load(tmp_path / "holdline.yaml", keys=False).settings
        (tmp_path / "evidence").mkdir()
        evidence = await write_evidence(settings, timedelta(hours=1), tmp_path / "evidence")

    since_first_s = (moment(flapped["resolved_at"]) - moment(flapped["first_at"])).total_seconds()
    assert flapped["began_at"] > flapped["first_at"]
    assert flapped["lasted_s"] < since_first_s - APART_S / 2
    assert {alert["status"] for alert in evidence["alerts"]} == {"resolved"}
    assert {item["provider"] for item in evidence["outages"]} >= {*MODELS, "cartesia"}
    assert all(item["ended_at"] for item in evidence["outages"] if item["provider"] == "cartesia")
