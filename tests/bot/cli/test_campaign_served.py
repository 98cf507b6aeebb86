"""Campaigns by command and over HTTP, against a running server and a carrier that calls people.

Contacts are imported, the campaign starts, people answer, it is paused and resumed, and at the end
its figures are read: each step as an owner does it, in processes of their own.
"""

import asyncio
import csv
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.process import RunningLab
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.webhook import AgentServer
from tests.bot.serving import AUTH_TOKEN, free_port, serving

pytestmark = [pytest.mark.slow, pytest.mark.long]

ACCOUNT = "AC" + "0" * 32
OURS = "+15005550006"
ANNA, BEN, CYD, ONE = "+15005551001", "+15005551002", "+15005551003", "+15005551009"
LONG_S = 240.0  # a machine that is busy with other things is no failure
FILE = f"""number,name,zone
{ANNA},Anna,UTC
{BEN},Ben,UTC
{CYD},Cyd,UTC
12,Dan,UTC
"""
CAMPAIGN = {
    "disclosure": "Hello, this is the automated assistant of Oak Street Dental.",
    "consent_required": False,
    "window": {"begin": "00:00", "end": "24:00"},
    "attempts": 1,
    "concurrent": 1,
    "dials_per_minute": 600,
}
TALKS = Callee(ring_s=0.3, lines=("What are your opening hours?", "Thank you, goodbye."))
CONFIRMS = Callee(ring_s=0.3, lines=("Thank you, goodbye.",))


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner who types commands and reads the console's figures."""

    folder: Path
    url: str
    carrier: CarrierRest

    async def types(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit code and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", *arguments, "--config", str(self.folder / "holdline.yaml"),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def sees(self) -> dict[str, Any]:
        """Return the one campaign as the console shows it."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/campaigns") as answer,
        ):
            (one,) = await answer.json()
            return one

    async def says(self, move: str) -> dict[str, Any]:
        """Press a button of the console."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/campaigns/spring/{move}") as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    def rung(self) -> list[str]:
        """Return the called numbers, as the carrier has them."""
        return [number for _, number, _ in self.carrier.book]

    def statuses(self) -> list[str]:
        return [item.status for item in self.carrier.exchange.placed.values()]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG_S):
        while not await true():  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.2)


@asynccontextmanager
async def an_owner(folder: Path, lab: RunningLab) -> AsyncIterator[Owner]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    agent = AgentServer(base_url=url, public_url=url, auth_token=AUTH_TOKEN)
    async with CarrierRest(ACCOUNT, AUTH_TOKEN, server=agent) as carrier:
        carrier.exchange.callees = dict.fromkeys((ANNA, BEN, CYD, ONE), CONFIRMS)
        carrier.exchange.callees[ANNA] = TALKS
        carrier.exchange.callees[BEN] = Callee(ring_s=0.3, fate="busy")
        twilio = {"enabled": True, "number": OURS, "api_url": carrier.url}
        changes = {"transports": {"twilio": twilio}, "campaigns": {"spring": CAMPAIGN}}
        keys = {"TWILIO_ACCOUNT_SID": ACCOUNT}
        async with serving(lab, folder, changes=changes, environment=keys, port=port):
            yield Owner(folder, url, carrier)


@dataclass(frozen=True, slots=True)
class Story:
    """Output of the commands, and observations between them."""

    codes: tuple[int, ...]
    texts: tuple[str, ...]
    paused: dict[str, Any]
    called_at_rest: tuple[list[str], list[str]]  # at its begin and at its end
    seen: dict[str, Any]


async def run_spring(owner: Owner) -> Story:
    """Import people, start, pause while the first one talks, resume, and read the results."""
    spring = ("--campaign", "spring")
    told = [await owner.types("campaign", "import", "contacts.csv", *spring)]
    told.append(await owner.types("campaign", "start", *spring))
    await until(lambda: is_in(owner, "in-progress"))
    paused = await owner.says("pause")
    await until(lambda: has_no_calls(owner))
    at_first = owner.rung()
    told.append(await owner.types("campaign", "status"))
    at_rest = at_first, owner.rung()
    told.append(await owner.types("campaign", "resume", *spring))
    await until(lambda: is_over(owner))
    seen = await owner.sees()
    told.append(await report_with_all_costs(owner, spring))
    told.append(await owner.types("dial", ONE))
    codes, texts = zip(*told, strict=True)
    return Story(codes, texts, paused, at_rest, seen)


async def report_with_all_costs(owner: Owner, spring: Sequence[str]) -> tuple[int, str]:
    """Ask for the report until it has the costs of carrier and providers."""
    said: list[tuple[int, str]] = []

    async def knows_all() -> bool:
        said.append(await owner.types("campaign", "report", *spring, "--out", "out"))
        return "carrier cost: 0.0280" in said[-1][1] and "at least" not in said[-1][1]

    await until(knows_all)
    return said[-1]


async def test_a_campaign_is_run_by_commands_and_the_console(
    tmp_path: Path, lab: RunningLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", AUTH_TOKEN)
    (tmp_path / "contacts.csv").write_text(FILE, encoding="utf-8")
    async with an_owner(tmp_path, lab) as owner:
        story = await run_spring(owner)

    assert story.codes == (0,) * 6, story.texts
    assert story.paused["state"] == "paused"
    at_first, at_last = story.called_at_rest
    assert at_first == at_last, "a contact was called while the campaign was paused"
    assert len(at_last) < 3, "it was not paused while contacts were left"
    assert sorted(owner.rung()) == [ANNA, BEN, CYD, ONE]
    calls = [item.carrier for item in owner.carrier.exchange.placed.values() if item.carrier]
    assert len(calls) == 3
    assert all(call.heard_at for call in calls), "a contact picked up, and heard nothing"
    assert (story.seen["state"], story.seen["finished"], story.seen["left_s"]) == ("done", 3, None)
    assert story.seen["outcomes"] == {"busy": 1, "completed": 2}
    has_told(story.texts)
    assert read_report(tmp_path / "out") == {
        "Anna": ("completed", "0.0140"), "Ben": ("busy", "0.0000"), "Cyd": ("completed", "0.0140"),
    }  # fmt: skip


def has_told(texts: tuple[str, ...]) -> None:
    """Assert the output of each command."""
    imported, started, status, resumed, report, dialled = texts
    assert "4 rows (utf-8): 3 added, 0 known before, 1 refused" in imported
    assert "spring is running" in started
    assert "spring is running" in resumed
    assert "spring: paused (an operator), 0 calls now" in status
    assert "contacts: 3 of 3 finished" in report
    assert "success rate: 66.7 %" in report
    assert "provider cost: 0.0" in report
    assert dialled.startswith(f"{ONE}: completed, ")


def read_report(folder: Path) -> dict[str, tuple[str, str]]:
    """Return outcome and the carrier's part of the cost by name."""
    with (folder / "spring.csv").open(encoding="utf-8", newline="") as file:
        return {
            item["name"]: (item["outcome"], item["carrier_cost"]) for item in csv.DictReader(file)
        }


async def is_in(owner: Owner, status: str) -> bool:
    return status in owner.statuses()


async def has_no_calls(owner: Owner) -> bool:
    return (await owner.sees())["calls_now"] == 0


async def is_over(owner: Owner) -> bool:
    return (await owner.sees())["state"] == "done"
