"""A voice fails during five calls: all reports of it must agree."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Page, async_playwright, expect
from prometheus_client.parser import text_string_to_metric_families

from configuration.loading import load
from lab.process import RunningLab, lab_process
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import PhoneCall
from lab.simulators.voices.voices import speak, voice_of
from operations.postmortem.command import write_evidence
from tests.bot.serving import AUTH_TOKEN, Served, serving
from tests.e2e.browser import ALLOWED, chromium, need_chromium
from tests.kit.journal import entries_in
from tests.kit.waiting import until
from tests.operations.notify.conftest import Inbox, inbox

__all__ = ["inbox"]
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]

RATE_HZ = 8_000
CALLERS = 5
DOWN_S = 20.0
AGAIN_S = 400.0  # a guard: a probe takes a minute, the alert about hurt callers five more
PAGE_MS = 20_000
QUESTIONS = ("What are your opening hours?", "How much does it cost?", "Where are you?")


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright, chromium(playwright, ALLOWED) as browser:
        page = await browser.new_page()
        await page.goto(url)
        yield page


async def asked(question: str) -> NDArray[np.int16]:
    speech = await speak(question, voice=voice_of("a caller"), rate_hz=RATE_HZ)
    return np.concatenate([speech.samples, np.zeros(RATE_HZ // 5, np.int16)])


async def converse(url: str, number: int, over: asyncio.Event) -> None:
    """Ask one thing after the other until the test is over."""
    phone = PhoneCall(caller=f"+1555010{number:04}")
    async with Carrier(url, AUTH_TOKEN, phone=phone) as call:
        await call.listen(within_s=30)
        while not over.is_set():
            for question in QUESTIONS:
                await call.say(await asked(question))
                await call.listen(within_s=40)


async def break_voice(lab: RunningLab, faults: list[dict[str, Any]]) -> None:
    headers = {"Authorization": f"Bearer {lab.control_token}"}
    address = f"{lab.control_url}/instances/cartesia/faults"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(address, json=faults) as answer,
    ):
        assert answer.status < 300, await answer.text()


async def said_by(url: str, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}") as answer:
        assert answer.status == 200, path
        return await (answer.text() if path == "/metrics" else answer.json())


async def until_hurt(logs: Path) -> None:
    """Wait until a voice has failed in a call; a failure between two answers affects no call."""
    await until(lambda: failed_attempts(logs), within_s=AGAIN_S, every_s=0.1)


async def until_resolved(url: str) -> Mapping[str, Any]:
    """Wait until no alert is open; return them all by their key."""
    async with asyncio.timeout(AGAIN_S):
        while True:
            alerts = await said_by(url, "/api/alerts")
            if alerts and all(alert["status"] == "resolved" for alert in alerts):
                return {alert["key"]: alert for alert in alerts}
            await asyncio.sleep(0.2)


def worth_a_mail(alerts: Mapping[str, Any]) -> list[Any]:
    """Return the alerts that operators are sent: a glitch on a busy machine is listed alone."""
    return [alert for alert in alerts.values() if alert["severity"] != "LOW"]


async def until_mailed(inbox: Inbox, *, ends: int) -> None:
    """Wait until operators were told of each end."""

    def ended() -> bool:
        return sum("RESOLVED" in str(mail["Subject"]) for mail in inbox.mails) >= ends

    await until(ended, within_s=AGAIN_S, every_s=0.2)


async def until_over(url: str) -> Mapping[str, Any]:
    """Wait until the record knows that the calls are over."""
    async with asyncio.timeout(AGAIN_S):
        while True:
            calls = await said_by(url, "/api/calls")
            over = [call for call in calls["recent"] if call["state"] == "ended"]
            if not calls["live"] and len(over) == CALLERS:
                return calls
            await asyncio.sleep(0.2)


def failed_attempts(logs: Path) -> list[dict[str, Any]]:
    """Return the failures in the calls' own records, the independent source."""
    return [fact for fact in entries_in(logs / "calls") if fact["event"] == "AttemptFailed"]


def counted(metrics: str, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == name and sample.value:
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
    return found


async def outage(served: Served, lab: RunningLab, page: Page) -> None:
    """Let the callers talk while their voice is down."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(converse(served.url, number, over))
        await expect(page.locator("#calls tbody tr")).to_have_count(CALLERS, timeout=60_000)
        await break_voice(lab, [{"fault": "cut", "after_words": 3}])
        await until_hurt(served.logs)
        await break_voice(lab, [{"fault": "refuse"}])
        await expect(page.locator(".troubles")).to_contain_text("cartesia", timeout=PAGE_MS)
        await asyncio.sleep(DOWN_S)  # the outage, in real time
        await break_voice(lab, [])
        over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The reports of each source about the same hour."""

    failed: list[dict[str, Any]]  # in the calls' own records, the independent source
    calls: Mapping[str, Any]
    alerts: Mapping[str, Any]
    metrics: str
    evidence: Mapping[str, Any]
    errors: list[dict[str, Any]]
    listed: list[dict[str, Any]]
    subjects: list[str]


async def test_all_reports_of_an_outage_agree(tmp_path: Path, inbox: Inbox, network: None) -> None:
    need_chromium()
    mail = {"host": "127.0.0.1", "port": inbox.port, "sender": "us@example.com"}
    changes = {
        "server": {"workers": 2},  # their figures add up
        "storage": {"url": f"sqlite+aiosqlite:///{tmp_path}/holdline.db"},
        "alerts": {"hold_s": 0, "email": mail | {"to": "you@example.com"}},
        "resilience": {"probe": {"interval_s": 5, "timeout_s": 2}},
    }
    async with lab_process() as lab, serving(lab, tmp_path, changes=changes) as served:
        async with watching(served.url) as page:
            await outage(served, lab, page)
            alerts = await until_resolved(served.url)
            calls = await until_over(served.url)
            await until_mailed(inbox, ends=len(worth_a_mail(alerts)))
            unserved = calls["lately"]["hurt"] + calls["lately"]["lost"]
            figure = page.locator(".figures div", has_text="Callers without an answer")
            await expect(figure.locator("dd")).to_have_text(str(unserved), timeout=PAGE_MS)
        metrics = await said_by(served.url, "/metrics")
    settings = load(tmp_path / "holdline.yaml", keys=False).settings
    (tmp_path / "evidence").mkdir()
    told = Told(
        failed=failed_attempts(served.logs),
        calls=calls,
        alerts=alerts,
        metrics=metrics,
        evidence=await write_evidence(settings, timedelta(hours=1), tmp_path / "evidence"),
        errors=json.loads((served.logs / "error_log.json").read_text()),
        listed=json.loads((served.logs / "alerts.json").read_text()),
        subjects=[str(email_message["Subject"]) for email_message in inbox.mails],
    )

    compare_failures(told)
    compare_alerts(told)


def compare_failures(told: Told) -> None:
    kinds = Counter((text["provider"], text["kind"]) for text in told.failed)
    failures = told.evidence["failures"]
    listed = Counter((failure["provider"], failure["kind"]) for failure in failures)
    probed = Counter(
        (failure["provider"], failure["kind"]) for failure in failures if not failure["call"]
    )
    providers = Counter(failure["provider"] for failure in failures)
    verdicts = {item["id"]: item["verdict"] for item in told.evidence["calls"]}
    counts = told.evidence["counts"]

    assert told.failed
    assert counted(told.metrics, "holdline_failures_total", "provider", "kind") == listed
    assert Counter(error["service_name"] for error in told.errors) == providers
    assert listed == kinds + probed
    assert sum(call["failures"] for call in told.calls["recent"]) == len(told.failed)
    assert counts["calls"] == CALLERS
    assert {call["id"]: call["verdict"] for call in told.calls["recent"]} == verdicts
    judged = counted(told.metrics, "holdline_calls_judged_total", "verdict")
    assert judged == Counter((verdict,) for verdict in verdicts.values())
    by_verdict = counts["calls_by_verdict"]
    assert told.calls["lately"] == by_verdict | {"failovers": counts["failovers"]}
    failovers = counted(told.metrics, "holdline_failovers_total", "stage")
    assert counts["failovers"] == failovers.total()


def compare_alerts(told: Told) -> None:
    assert {item["key"] for item in told.evidence["alerts"]} == set(told.alerts)
    assert [item["status"] for item in told.listed] == ["RESOLVED"] * len(told.alerts)
    ends = [subject for subject in told.subjects if "RESOLVED" in subject]
    assert len(ends) == len(worth_a_mail(told.alerts)), told.subjects
    sent = Counter({("email",): len(told.subjects)})  # none of an alert that is listed alone
    assert counted(told.metrics, "holdline_alerts_sent_total", "channel") == sent
