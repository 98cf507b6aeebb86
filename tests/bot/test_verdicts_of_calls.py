"""Twenty calls over ten faults: each report has the verdict of each call's caller.

The verdict of the ear is found in the recording of the caller's line, without a word from the
server. Half of the calls begin before their fault, half in the known outage. One more call is in a
record of a process that wrote nothing after it: all runs on virtual time in one process, which
cannot be killed. `test_killed_process.py` kills one.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from calls.entry import Entry
from calls.events import CallStarted, TurnDecided
from calls.verdict import CallerVerdict, severity_of
from lab.drill.breaks import HUNG, REFUSE
from lab.drill.evidence import JudgedTurn, judge_turn
from lab.drill.rig import AskedTurn, Conversation
from lab.drill.rows import HOURS, CallPlan, Row
from operations.database.database import Database
from operations.postmortem.gathering import gather
from operations.postmortem.story import tell_story
from operations.record.fold_rules import RecordFold
from operations.record.reader import RecordReader
from operations.record.record_listener import RecordListener
from operations.record.writer import RecordWriter
from runtime import clock
from tests.golden.rig import GoldenRig, open_golden_rig
from tests.operations.notify.conftest import Receiver
from tests.operations.sheets.google import SPREADSHEET, Google, google_on_loopback

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.long]

BUDGET_S = 1.5
UNSURE_S = 0.1  # between our reckoning of an answer's delay and the ear's
BREATH_S = 0.25  # shorter other sounds are edges of words
MENDED_S = 40.0  # by then each breaker has closed again
SETTLED_S = 120.0  # by then a dead process is found, and reports and rows are written
MODELS, VOICES = ("openai", "openai-b"), ("cartesia", "elevenlabs")
RECOGNISERS = ("deepgram", "deepgram-b")
CUT = {"fault": "cut", "after_words": 3}

Faults = Mapping[str, Mapping[str, Any]]
FAULTS: Mapping[str, Faults] = {
    "nothing": {},
    "a model is gone": {"openai": REFUSE},
    "all models are gone": dict.fromkeys(MODELS, REFUSE),
    "all models hang": dict.fromkeys(MODELS, HUNG),
    "a voice is gone": {"cartesia": REFUSE},
    "a voice breaks off": {"cartesia": CUT},
    "all voices are gone": dict.fromkeys(VOICES, REFUSE),
    "a recogniser is gone": {"deepgram": REFUSE},
    "all recognisers are gone": dict.fromkeys(RECOGNISERS, REFUSE),
    "everything is gone": dict.fromkeys((*MODELS, *VOICES, *RECOGNISERS), REFUSE),
}
BEFORE, DURING = 1, 1  # calls of each fault that begin before it and in it
ROW = Row(name="verdicts", title="Ten faults", plan=CallPlan.TURN)


@pytest.fixture(autouse=True)
def virtual_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let entries and rows tell the time that passes here; `datetime.now` is not virtual."""
    monkeypatch.setattr(clock, "utc_now", lambda: datetime.fromtimestamp(clock.utc_s(), UTC))


@dataclass
class Ears:
    """What each caller got, by the order of the calls: the verdicts that fit the recording."""

    got: list[set[str]] = field(default_factory=list)

    def note(self, *heard: set[str]) -> None:
        """Add a call: it is as bad as the worst of its turns."""
        worst = {max(one, other, key=severity_of) for one in heard[0] for other in heard[-1]}
        self.got.append(worst)


def ear_of(heard: JudgedTurn, *, waits: bool = True) -> set[str]:
    """Return the verdicts that fit what was heard of a turn."""
    reply = heard.verdict
    if not reply.words or len(reply.missing) > len(reply.words):
        return {CallerVerdict.HURT.value}
    other = [end - begin for begin, end in reply.other if end - begin > BREATH_S]
    if other or set(reply.voices) != {"cartesia"}:
        return {CallerVerdict.DEGRADED.value}
    late_s = (reply.first_word_s or 0.0) - BUDGET_S if waits else -BUDGET_S
    if abs(late_s) < UNSURE_S:
        return {CallerVerdict.SERVED.value, CallerVerdict.DEGRADED.value}
    return {CallerVerdict.DEGRADED.value if late_s > 0 else CallerVerdict.SERVED.value}


async def greeted(golden: GoldenRig, call: Conversation) -> set[str]:
    """Hear the greeting."""
    await call.wait_for_greeting()
    moments = {"began_s": 0.0, "stop_s": 0.0, "end_s": call.now_s}
    turn = AskedTurn(question="", answer=call.greeting, **moments)
    return ear_of(await judge_turn(call, golden.rig.control, turn), waits=False)


async def one_call(golden: GoldenRig, ears: Ears, faults: Faults) -> None:
    """Call, be greeted, let these faults begin, ask one question, and hang up."""
    async with golden.rig.call() as call:
        greeting = await greeted(golden, call)
        for provider, fault in faults.items():
            await golden.rig.control.set_faults(provider, [dict(fault)])
        turn = await call.ask(HOURS)
        ears.note(greeting, ear_of(await judge_turn(call, golden.rig.control, turn)))


async def call_around(golden: GoldenRig, ears: Ears, faults: Faults) -> None:
    """Place the calls that begin before these faults, then those that begin in them."""
    for number in range(BEFORE + DURING):
        await one_call(golden, ears, faults)
        if number + 1 < BEFORE or number + 1 == BEFORE + DURING:
            await mend(golden, faults)


async def mend(golden: GoldenRig, faults: Faults) -> None:
    for provider in faults:
        await golden.rig.control.set_faults(provider, [])
    await asyncio.sleep(MENDED_S)


async def die_in_a_call(url: str) -> None:
    """Begin a call in a process that ends without a word."""
    database = Database(url)
    dead = RecordListener(
        RecordWriter(database, holder="dead"),
        RecordFold(holder="dead", messages=""),
        utc_now=clock.utc_now,
        clock=clock.monotonic,
    )
    started = CallStarted(transport="twilio", agent="default", caller="+15005550006", called="+1")
    at = clock.utc_now().isoformat()
    for number, event in enumerate((started, TurnDecided(turn=1, at_s=1.0)), start=1):
        await dead.hear(Entry(call_id="killed", number=number, at=at, event=event))
    assert await dead.write()
    await database.close()


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The verdict on each call by each report."""

    console: Mapping[str, str]
    metrics: Mapping[str, int]
    record: Mapping[str, str]
    sheet: Mapping[str, str]
    crm: Mapping[str, Mapping[str, Any]]  # the whole report
    evidence: Mapping[str, str]
    figures: Mapping[str, int]  # of the console
    sums: Mapping[str, int]  # of the evidence
    in_outages: Set[str]  # the calls that were hurt in one, by the evidence
    alerts: Sequence[Mapping[str, Any]]


async def read_all(golden: GoldenRig, folder: Path, google: Google, crm: Receiver) -> Reports:
    async with aiohttp.ClientSession(golden.server.url) as session:

        async def said(path: str) -> Any:
            async with session.get(path) as answer:
                assert answer.status == 200, path
                return await (answer.text() if path == "/metrics" else answer.json())

        calls = await said("/api/calls?limit=200")
        metrics, alerts = await said("/metrics"), await said("/api/alerts")
    url, now = database_of(folder), clock.utc_now()
    async with Database(url) as database:
        rows = await RecordReader(database).calls(limit=200)
    since = now - timedelta(hours=3)
    story = tell_story(await gather(url, since, now), budget_s=BUDGET_S, made_at=now)
    heads, *written = google.tabs["calls"]
    posted = [json.loads(body)["data"] for _, _, body, _ in crm.asked]
    return Reports(
        console={call["id"]: call["verdict"] for call in calls["recent"]},
        metrics=counted(metrics),
        record={row.id: row.verdict for row in rows},
        sheet={str(row[0]).split()[1]: row[heads.index("verdict")] for row in written},
        crm={report["call_id"]: report for report in posted},
        evidence={call["id"]: call["verdict"] for call in story["calls"]},
        figures=calls["lately"],
        sums=story["counts"]["calls_by_verdict"],
        in_outages={name for outage in story["outages"] for name in outage["calls_hurt"]},
        alerts=alerts,
    )


def counted(metrics: str) -> dict[str, int]:
    return {
        sample.labels["verdict"]: int(sample.value)
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "holdline_calls_judged_total" and sample.value
    }


def database_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/holdline.db"


@asynccontextmanager
async def everything(folder: Path) -> AsyncIterator[tuple[GoldenRig, Google, Receiver]]:
    """Run a server that reports to a spreadsheet and a CRM, while the block runs."""
    async with google_on_loopback() as google, Receiver.running() as crm:
        sheets = {"enabled": True, "spreadsheet_id": SPREADSHEET, "url": google.url}
        secret = SecretStr("whsec_" + "A" * 44)
        changes = {
            "sheets": sheets | {"credentials_file": google.credentials(folder)},
            "crm": {"kind": "webhook", "url": crm.url, "token": secret},
            "after_call": {"enabled": False},
            "resilience": {
                "probe": {"interval_s": 5, "timeout_s": 2},
                "breaker": {"open_s": 5},
            },
        }
        async with open_golden_rig(ROW, folder, changes) as golden:
            yield golden, google, crm


async def test_each_report_has_what_each_caller_heard(tmp_path: Path) -> None:
    ears = Ears()
    await die_in_a_call(database_of(tmp_path))
    async with everything(tmp_path) as (golden, google, crm):
        for faults in FAULTS.values():
            await call_around(golden, ears, faults)
        await asyncio.sleep(SETTLED_S)
        told = await read_all(golden, tmp_path, google, crm)
        began = [entry for entry in golden.server.told if isinstance(entry.event, CallStarted)]

    names = [entry.call_id for entry in began]
    assert len(names) == len(ears.got) == len(FAULTS) * (BEFORE + DURING)
    wrong = {
        name: (told.record.get(name), sorted(got), list(FAULTS)[at // (BEFORE + DURING)])
        for at, (name, got) in enumerate(zip(names, ears.got, strict=True))
        if told.record.get(name) not in got
    }
    assert not wrong
    compare(told)
    assert set(told.record) == {*names, "killed"}
    assert told.record["killed"] == "lost"
    assert told.crm["killed"]["status"] == "failed"
    assert "cut" in told.crm["killed"]["summary"]
    assert {told.record[name] for name in names[: BEFORE + DURING]} == {"served"}  # healthy calls
    assert {"served", "degraded", "hurt", "lost"} == set(told.record.values())
    hurt = {name for name, verdict in told.record.items() if verdict == "hurt"}
    assert told.in_outages >= hurt  # also those who called in a known outage
    assert [alert for alert in told.alerts if alert["stage"] == "callers"]


def compare(told: Reports) -> None:
    """Check that all reports have the record's verdicts, and the sums of them."""
    crm = {name: report["verdict"] for name, report in told.crm.items()}
    for report in (told.console, told.sheet, crm, told.evidence):
        assert report == told.record
    sums = Counter(told.record.values())
    assert told.metrics == sums
    assert +Counter(told.sums) == sums
    lately = {verdict: told.figures[verdict] for verdict in sums}  # of a quarter of an hour
    assert any(lately.values())
    assert Counter(lately) <= sums


async def test_no_caller_is_hurt_in_half_an_hour_without_faults(tmp_path: Path) -> None:
    ears = Ears()
    async with everything(tmp_path) as (golden, google, crm):
        for _ in range(6):
            await one_call(golden, ears, {})
            await asyncio.sleep(280.0)
        told = await read_all(golden, tmp_path, google, crm)

    compare(told)
    assert len(told.record) == len(ears.got)
    assert not {"hurt", "lost"} & set(told.record.values())
    assert not [got for got in ears.got if "hurt" in got]
    assert not told.alerts
