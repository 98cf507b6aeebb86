"""Campaigns over HTTP: their state, live as well, an operator's actions, the report."""

# pyright: reportArgumentType=false, reportPossiblyUnboundVariable=false

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from bot.outbound.outbound import Outbound
from bot.server.access import Access, Guard
from bot.server.campaign_routes import (
    LEAVING,
    REFRESH_EVERY_S,
    PoolCampaigns,
    campaign_router,
    report_router,
)
from bot.server.credentials import ConsoleCredentials
from bot.server.live_routes import PoolLiveView, live_router
from bot.workers.pool import SingleProcess, WorkerPool
from calls.campaign_events import CallOrdered
from calls.events import Event, OperatorActed
from calls.outbound import Claim, DialOutcome, DialResult, NextStep
from campaigns.dialer import Dialer
from campaigns.dialing import DialerSettings
from campaigns.guard import Hold, Holds, rules_of
from campaigns.model import CallingWindow, Campaign
from campaigns.one_call import OneCall
from campaigns.order_rules import OrderRules
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.figures import CampaignStanding, Figures
from campaigns.store.queue import Queue
from operations.database.database import Database, StorageError
from operations.masking import mask_number
from operations.telemetry.live import Live
from runtime import clock
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from tests.campaigns.dialing import Floor, ScriptedCarrier
from tests.kit.clock import always
from tests.kit.dials import LAB_RULES, gate_of
from transports.dialling import DialRequest

NOON = 1_800_014_400.0  # 2027-01-15, 12:00 UTC
DAY_S = 24 * 3600.0
SPRING = Campaign(
    name="spring",
    consent_required=False,
    daily_calls=50,
    daily_spend=2.0,
    dials_per_minute=600.0,
    concurrent=50,
    window=CallingWindow(opens_s=0.0, closes_s=DAY_S),
)
SUMMER = replace(SPRING, name="summer", daily_calls=None, daily_spend=None)
WELL = {"stt": True, "llm": True, "tts": True}


class CountedFigures(Figures):
    """Counts how often the database is asked."""

    looks = 0
    broken = False

    async def standings(self) -> Sequence[CampaignStanding]:
        self.looks += 1
        if self.broken:
            raise StorageError("gone")
        return await super().standings()


@dataclass
class HoldingDialer:
    """Gives the reason why each campaign waits."""

    holds: Holds = field(default_factory=Holds)


@dataclass(kw_only=True)
class Asking:
    """A console's campaigns, and a client."""

    client: httpx.AsyncClient
    app: FastAPI
    outbound: Outbound
    figures: CountedFigures
    view: PoolCampaigns
    dialer: HoldingDialer
    told: list[Event]
    usable: dict[str, bool]

    async def fill(self, many: int = 20, *, name: str = "spring") -> None:
        people = [
            NewContact(number=f"+1202555{1000 + at}", name=f"=Ann{at}", zones=("UTC",))
            for at in range(many)
        ]
        await self.outbound.contacts.add(name, people, now=NOON)

    async def sees(self, name: str = "spring") -> dict[str, Any]:
        answer = await self.client.get("/api/campaigns")
        assert answer.status_code == 200, answer.text
        return next(item for item in answer.json() if item["name"] == name)

    async def says(self, move: str, name: str = "spring", **word: Any) -> httpx.Response:
        return await self.client.post(f"/api/campaigns/{name}/{move}", **word)

    async def dial(self, outcomes: Sequence[DialOutcome], *, cost: float = 0.1) -> None:
        """Dial a number of times, a minute apart, the last one a minute ago."""
        store = Queue(self.figures.database, holder="me")
        for left, outcome in zip(range(len(outcomes), 0, -1), outcomes, strict=True):
            now = NOON - 60.0 * left
            claim = await store.claim(
                "spring", rules_of(SPRING, now=now), now_s=always(now), lease_s=15.0
            )
            assert isinstance(claim, Claim), claim
            await store.confirm(claim.dial, now_s=always(now), lease_s=15.0)
            result = DialResult(outcome=outcome, length_s=20.0, cost=cost)
            await store.settle(claim.dial, result, then=NextStep(state="done"), now=now + 30.0)


def outbound_of(
    url: str,
    figures: Figures,
    dialer: HoldingDialer,
    usable: Mapping[str, bool],
    *campaigns: Campaign,
) -> Outbound:
    return Outbound(
        campaigns={campaign.name: campaign for campaign in campaigns},
        queue=Queue(figures.database),
        contacts=Contacts(figures.database),
        figures=figures,
        calls=cast(Any, None),
        dialer=cast(Dialer, dialer),
        one_call=None,
        gate=gate_of(figures.database, now_s=always(NOON)),
        now_s=lambda: NOON,
        usable=lambda: usable,
        currency="EUR",
        url=url,
    )


@asynccontextmanager
async def asking(
    folder: Path, *campaigns: Campaign, pool: WorkerPool | None = None
) -> AsyncIterator[Asking]:
    url = f"sqlite+aiosqlite:///{folder}/holdline.db"
    pool = pool or SingleProcess(why_closed=lambda: "", clock=clock.monotonic)
    figures, dialer, usable, told = (
        CountedFigures(Database(url)),
        HoldingDialer(),
        dict(WELL),
        list[Event](),
    )
    outbound = outbound_of(url, figures, dialer, usable, *(campaigns or (SPRING, SUMMER)))
    view = PoolCampaigns(outbound, pool)
    app = FastAPI()
    app.add_middleware(
        Guard, access=Access(ConsoleCredentials(None, None, pool=pool, emit=told.append))
    )
    app.include_router(campaign_router(outbound, view, told.append))
    app.include_router(report_router(outbound, told.append))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield Asking(
            client=client, app=app, outbound=outbound, figures=figures, view=view,
            dialer=dialer, told=told, usable=usable,
        )  # fmt: skip
    await figures.database.close()


@dataclass(kw_only=True)
class Dialled:
    """A server that places single calls, and its carrier."""

    client: httpx.AsyncClient
    carrier: ScriptedCarrier
    floor: Floor
    told: list[Event]


@asynccontextmanager
async def dials(
    folder: Path, rules: OrderRules = LAB_RULES, *, region: str = "", **floor: Any
) -> AsyncIterator[Dialled]:
    async with asking(folder) as it:
        seats, carrier = Floor(**floor), ScriptedCarrier()
        gate = gate_of(
            it.figures.database, rules, emit=it.told.append, now_s=always(NOON), region=region
        )
        call = OneCall(
            carrier=carrier,
            gate=gate,
            calls=seats,
            pool=seats,
            settings=DialerSettings(),
            now_s=lambda: NOON,
        )
        app = FastAPI()
        outbound = replace(it.outbound, one_call=call, gate=gate)
        app.include_router(campaign_router(outbound, it.view, it.told.append))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            yield Dialled(client=client, carrier=carrier, floor=seats, told=it.told)


async def test_a_stopping_server_refuses_a_dial_in_one_line(tmp_path: Path) -> None:
    async with dials(tmp_path, leaving=True) as it:
        answer = await it.client.post("/api/dials", json={"number": "+15550142"})

    assert answer.status_code == 503
    assert answer.json() == {"detail": "the server is stopping and no longer places calls"}


@pytest.mark.virtual_time
async def test_a_dial_withdrawn_while_it_waits_is_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = {"json": {"number": "+12025550123"}}
    async with dials(tmp_path, replace(US, hourly=1)) as it:
        with monkeypatch.context() as patch:

            async def stop(request: DialRequest) -> str:
                it.floor.leaving = True  # while the dial waits for its turn
                await request.confirm()
                raise AssertionError("the carrier is asked")

            patch.setattr(it.carrier, "dial", stop)
            withdrawn = await it.client.post("/api/dials", **order)
        it.floor.leaving = False
        placed = await it.client.post("/api/dials", **order)
        limited = await it.client.post("/api/dials", **order)

    assert (withdrawn.status_code, withdrawn.json()) == (503, {"detail": LEAVING})
    assert (placed.status_code, limited.status_code) == (200, 429)  # it took no place in the hour
    outcomes = [event.outcome for event in it.told if isinstance(event, CallOrdered)]
    assert outcomes == ["accepted", "withdrawn", "accepted", "completed", "refused"]


US = OrderRules(countries=("US",), concurrent=2)
REFUSED_DIALS = {
    "no plus": ("0301234567", US, 400, "must begin with +"),
    "nothing is allowed": ("+12025550123", OrderRules(), 409, "outbound: {countries: [DE, AT]}"),
    "premium rate": ("+19005551234", US, 409, "outbound.cost_classes"),
    "Jamaica": ("+18765551234", US, 409, "the number is in JM"),
}


@pytest.mark.parametrize(
    ("number", "rules", "status", "says"), REFUSED_DIALS.values(), ids=REFUSED_DIALS
)
async def test_a_dial_that_is_never_placed_is_refused_with_the_cure_and_recorded(
    tmp_path: Path, number: str, rules: OrderRules, status: int, says: str
) -> None:
    async with dials(tmp_path, rules) as it:
        answer = await it.client.post("/api/dials", json={"number": number, "by": "Mary"})

    assert (answer.status_code, it.carrier.record) == (status, [])
    assert says in answer.json()["detail"]
    ordered = [event for event in it.told if isinstance(event, CallOrdered)]
    assert len(ordered) == (status == 409)
    assert all(event.by == "Mary (no token from 127.0.0.1)" for event in ordered)
    assert all((event.source, event.outcome) == ("api", "refused") for event in ordered)


@pytest.mark.virtual_time
async def test_a_dial_reads_its_number_as_an_import_does(tmp_path: Path) -> None:
    async with dials(tmp_path, OrderRules(countries=("DE",)), region="DE") as it:
        answer = await it.client.post("/api/dials", json={"number": "030 901820"})

    assert (answer.status_code, len(it.carrier.record)) == (200, 1)
    ordered = [event for event in it.told if isinstance(event, CallOrdered)]
    assert {(event.called, event.country) for event in ordered} == {
        (mask_number("+4930901820"), "DE")
    }


async def test_an_ambiguous_number_is_not_dialled_and_both_readings_are_shown(
    tmp_path: Path,
) -> None:
    async with dials(tmp_path, OrderRules(countries=("DE",)), region="DE") as it:
        answer = await it.client.post("/api/dials", json={"number": "4915112345678"})

    assert (answer.status_code, it.carrier.record) == (400, [])
    assert "+4915112345678" in answer.json()["detail"]


@pytest.mark.virtual_time
async def test_forty_one_dial_requests_within_seconds_stay_within_the_limit(tmp_path: Path) -> None:
    async with dials(tmp_path, US) as it:
        orders = [
            it.client.post("/api/dials", json={"number": f"+1202555{1000 + at}"})
            for at in range(41)
        ]
        answers = await asyncio.gather(*orders)

    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 2 + [429] * 39
    assert len(it.carrier.record) == 2


async def test_a_dial_without_a_seat_is_not_placed(tmp_path: Path) -> None:
    async with dials(tmp_path, free=0) as it:
        answer = await it.client.post("/api/dials", json={"number": "+15005550142"})

    assert (answer.status_code, it.carrier.record) == (503, [])


async def test_no_campaign_starts_while_no_country_is_allowed(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        it.outbound.gate.rules = OrderRules()
        answers = {move: await it.says(move) for move in ("start", "resume", "pause")}

    codes = {move: answer.status_code for move, answer in answers.items()}
    assert codes == {"start": 409, "resume": 409, "pause": 409}
    assert "outbound.countries is not set" in answers["start"].json()["detail"]
    assert "outbound.countries" not in answers["pause"].json()["detail"]


async def test_a_campaign_without_an_import_is_listed_without_contacts(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as it:
        seen = await it.sees("summer")

    assert (seen["state"], seen["all_contacts"], seen["left_s"]) == ("ready", 0, None)


async def test_progress_outcomes_todays_use_and_time_left_are_shown(tmp_path: Path) -> None:
    outcomes = [DialOutcome.COMPLETED] * 4 + [DialOutcome.BUSY] * 2
    async with asking(tmp_path) as it:
        await it.fill(20)
        await it.says("start")
        before = await it.sees()
        await it.dial(outcomes)
        seen = await it.sees()

    assert before["left_s"] is None  # without a dial there is no estimate
    assert (seen["finished"], seen["all_contacts"], seen["dials"]) == (6, 20, 6)
    assert seen["outcomes"] == {"completed": 4, "busy": 2}
    assert (seen["calls_today"], seen["daily_calls"]) == (6, 50)
    assert (seen["spent_today"], seen["daily_spend"]) == (pytest.approx(0.6), 2.0)
    assert seen["currency"] == "EUR"
    # 14 contacts, one a minute; today's 1.4 that are left pay for 14 calls of 0.1.
    assert seen["left_s"] == pytest.approx(14 * 60.0, abs=1.0)


async def test_yesterdays_use_is_not_todays(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill(20)
        await it.says("start")
        await it.dial([DialOutcome.COMPLETED] * 3)
        object.__setattr__(it.outbound, "now_s", lambda: NOON + DAY_S)
        seen = await it.sees()

    assert (seen["calls_today"], seen["spent_today"], seen["cost"]) == (0, 0.0, pytest.approx(0.3))


async def test_the_reason_for_waiting_is_shown_only_for_a_running_campaign(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        await it.says("start")
        it.dialer.holds.hold("spring", "tts_down", outage=True, now=NOON - 5.0)
        running = await it.sees()
        await it.says("pause")
        paused = await it.sees()

    assert running["held"] == {"reason": "tts_down", "since_s": NOON - 5.0, "outage": True}
    assert (paused["state"], paused["held"]) == ("paused", None)


async def test_a_campaign_that_calls_although_a_stage_is_down_says_so(tmp_path: Path) -> None:
    async with asking(tmp_path, replace(SPRING, on_outage="degraded"), SUMMER) as it:
        for name in ("spring", "summer"):
            await it.fill(3, name=name)
            await it.says("start", name)
        well = await it.sees()
        it.usable["llm"] = False
        down = await it.sees()
        holding = await it.sees("summer")

    assert well["held"] is None
    assert (down["held"]["reason"], down["on_outage"]) == ("llm_down", "degraded")
    assert holding["held"] is None  # its own dialler says when it is held


async def test_a_missing_carrier_is_the_reason(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        object.__setattr__(it.outbound, "dialer", None)
        await it.fill()
        await it.says("start")
        seen = await it.sees()

    assert seen["held"]["reason"] == "no_carrier"


MOVES = {
    "start": ("ready", "start", 200, "running"),
    "pause": ("running", "pause", 200, "paused"),
    "resume": ("paused", "resume", 200, "running"),
    "start again": ("done", "start", 200, "running"),
    "it runs already": ("running", "start", 200, "running"),
    "it is paused already": ("paused", "pause", 200, "paused"),
    "nothing to pause": ("done", "pause", 409, "done"),
    "nothing to resume": ("ready", "resume", 409, "ready"),
}


async def test_an_operator_changes_a_campaigns_state_where_the_transition_is_allowed(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        for state, move, status, becomes in MOVES.values():
            await it.outbound.queue.move("spring", cast(Any, state), now=NOON)
            it.told.clear()
            answer = await it.says(move)
            seen = await it.sees()

            assert (answer.status_code, seen["state"]) == (status, becomes)
            assert len(it.told) == (status == 200 and state != becomes)
            says = answer.json().get("detail", "")
            assert says.startswith(f"spring is {state}; {move} needs ") == (status == 409)


async def test_an_operators_action_is_reported_once_with_its_author_and_reason(
    tmp_path: Path,
) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        await it.says("start", json={"by": "Mary", "why": "the text is right now"})
        seen = await it.sees()

    (acted,) = it.told
    assert isinstance(acted, OperatorActed)
    assert (acted.action, acted.target, acted.why) == ("start", "spring", "the text is right now")
    assert acted.by == "Mary (no token from 127.0.0.1)"
    assert seen["reason"] == "Mary"


async def test_an_unknown_campaign_or_an_overlong_reason_changes_nothing(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        for path in ("nobody/start", "spring/dial", "spring/report.pdf"):
            answer = await it.client.post(f"/api/campaigns/{path}")
            assert (answer.status_code, answer.json()["names"]) == (404, ["spring", "summer"])
        for word in ({"by": "x" * 81}, {"why": "x" * 201}, ["start"]):
            assert (await it.says("start", json=word)).status_code == 422
        seen = await it.sees()

    assert (seen["state"], it.told) == ("ready", [])


async def test_the_report_has_masked_numbers_unless_they_are_asked_for(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill(3)
        page = await it.client.get("/api/campaigns/spring/report.html")
        lines_masked = await it.client.get("/api/campaigns/spring/report.csv")
        assert it.told == []
        in_full = await it.client.get("/api/campaigns/spring/report.csv?numbers=1")
        told = it.told

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "Campaign spring" in page.text
    assert "+1202" not in page.text
    masked_rows, rows = (
        list(csv.DictReader(io.StringIO(word.text))) for word in (lines_masked, in_full)
    )
    assert [row["number"] for row in masked_rows] == [
        "'+1202****00",
        "'+1202****01",
        "'+1202****02",
    ]
    assert [row["number"] for row in rows] == ["'+12025551000", "'+12025551001", "'+12025551002"]
    assert masked_rows[0]["name"] == "'=Ann0"  # no formula
    assert in_full.headers["content-disposition"] == 'attachment; filename="spring.csv"'
    by = "an operator (no token from 127.0.0.1)"
    report = "the report of campaign spring"
    assert told == [OperatorActed(action="unmask", target=report, by=by)]


async def test_reports_are_written_one_at_a_time_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    async with asking(tmp_path) as it:
        await it.fill(3)
        paths = ["/api/campaigns/spring/report.csv"] * 3
        answers = await asyncio.gather(*(it.client.get(path) for path in paths))
        again = await it.client.get(paths[0])
        absent = await it.client.get("/api/campaigns/summer/report.csv")
        nobody = await it.client.get("/api/campaigns/nobody/report.csv")

    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    assert again.status_code == 200
    assert (absent.status_code, absent.json()["detail"]) == (
        404,
        "This campaign has no contacts yet.",
    )
    assert nobody.status_code == 404
    assert list(spool.iterdir()) == []


@pytest.mark.virtual_time
async def test_all_watchers_share_one_query_every_few_seconds(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        it.figures.looks = 0

        async def see_two() -> list[str]:
            async with aclosing(cast(Any, it.view.watch())) as seen:
                return [(await anext(seen))["campaigns"][0]["state"] for _ in range(2)]

        watching = [asyncio.create_task(see_two()) for _ in range(50)]
        await asyncio.sleep(9.5 * REFRESH_EVERY_S)
        looks = it.figures.looks
        await it.outbound.queue.move("spring", "running", now=NOON)
        states = await asyncio.gather(*watching)

    assert 9 <= looks <= 11
    assert states == [["ready", "running"]] * 50


@pytest.mark.virtual_time
async def test_an_unavailable_database_is_reported_and_the_last_state_stays(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.fill()
        async with aclosing(cast(Any, it.view.watch())) as watch:
            seen = await anext(watch)
            it.figures.broken = True
            gone = await anext(watch)
            it.figures.broken = False
            back = await anext(watch)
        it.figures.broken = True
        listed = await it.client.get("/api/campaigns")

    assert (seen["problem"], back["problem"]) == ("", "")
    assert gone == {**seen, "problem": "The database does not answer."}
    assert listed.status_code == 503


async def test_without_campaigns_the_database_is_never_asked(tmp_path: Path) -> None:
    async with asking(tmp_path, SPRING) as it:
        object.__setattr__(it.outbound, "campaigns", {})
        shown = [row async for row in it.view.watch()]

    assert shown == [{"campaigns": [], "problem": ""}]
    assert it.figures.looks == 0
    assert not (tmp_path / "holdline.db").exists()


@pytest.mark.virtual_time
async def test_one_of_two_processes_reads_for_both(tmp_path: Path) -> None:
    async with lines(settings_with()) as pool:
        await pool.open()
        one, other = pool.joined
        async with (
            asking(tmp_path, pool=one) as leader,
            asking(tmp_path, pool=other) as follower,
        ):
            await leader.fill()
            leader.figures.looks = follower.figures.looks = 0
            shown = [await anext(aiter(item.view.watch())) for item in (leader, follower)]

    assert one.leads
    assert shown[0] == shown[1]
    assert shown[0]["campaigns"][0]["all_contacts"] == 20
    assert (leader.figures.looks, follower.figures.looks) == (1, 0)


@pytest.mark.virtual_time
async def test_a_halted_campaign_is_reported_by_the_leading_process(
    tmp_path: Path,
) -> None:
    async with lines(settings_with()) as pool:
        await pool.open()
        one, other = pool.joined
        async with (
            asking(tmp_path, pool=one) as leader,
            asking(tmp_path, pool=other) as follower,
        ):
            for item in (leader, follower):
                item.dialer.holds.adopt(
                    {
                        "spring": Hold(reason="tts_down", since_s=NOON, outage=True),
                        "summer": Hold(reason="no_seat", since_s=NOON, outage=False),
                    }
                )
            lasting = [item.view.lasting() for item in (leader, follower)]

    assert lasting == [[("campaign", "spring")], ()]


@pytest.mark.virtual_time
async def test_the_live_feed_has_campaigns_and_calls(tmp_path: Path) -> None:
    class NoCalls:
        async def watch(self) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
            yield []

    async with asking(tmp_path) as it:
        await it.fill()
        pool = SingleProcess(why_closed=str, clock=clock.monotonic)
        live, calls = PoolLiveView(Live(words=False), pool), NoCalls()
        router = live_router(live, budget_s=1.5, calls=calls, campaigns=it.view)
        answer = await cast(Any, router.routes[0]).endpoint(calls=True)
        async with aclosing(answer.body_iterator) as body:
            async for piece in body:
                _, found, campaigns = piece.partition("event: campaigns\ndata: ")
                if found:
                    break

    shown = json.loads(campaigns.partition("\n")[0])
    assert [item["name"] for item in shown["campaigns"]] == ["spring", "summer"]
