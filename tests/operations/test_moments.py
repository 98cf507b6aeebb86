"""How moments are written: with an offset in files, with the zone's name for people."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from bot.do_not_call.entries import seen
from campaigns.report import contact_lines
from campaigns.store.contacts import DoNotCallEntry
from campaigns.store.dials import DialCosts
from campaigns.store.figures import ContactFigures
from fallbacks.failure import Severity
from operations.moments import for_people, iso
from operations.notify.alert import Alert
from operations.notify.channel import alert_as_json, alert_text
from operations.record.call_list import ListedCall
from operations.record.exporting import cell, json_value
from operations.sheets.mirror import alert_rows, call_row
from operations.telemetry.logs import TEXT

ROOT = Path(__file__).parents[2]
AT = datetime(2027, 1, 15, 8, 0, 5, tzinfo=UTC)
AT_S = AT.timestamp()
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("at", "said", "shown"),
    [
        (AT, "2027-01-15T08:00:05+00:00", "2027-01-15 08:00:05 UTC"),
        (AT.replace(tzinfo=None), "2027-01-15T08:00:05+00:00", "2027-01-15 08:00:05 UTC"),
        (AT_S, "2027-01-15T08:00:05+00:00", "2027-01-15 08:00:05 UTC"),
        (AT.astimezone(INDIA), "2027-01-15T13:30:05+05:30", "2027-01-15 08:00:05 UTC"),
        (None, "", ""),
    ],
    ids=["aware", "as SQLite returns it", "seconds", "another zone", "none"],
)
def test_a_moment_has_its_offset_in_files_and_its_zone_for_people(
    at: Any, said: str, shown: str
) -> None:
    assert (iso(at), for_people(at)) == (said, shown)


ALERT = Alert(
    key="k",
    stage="tts",
    rung="cartesia",
    kind="auth",
    severity=Severity.HIGH,
    reason="Cartesia rejects its key",
    then="",
    began_s=AT_S,
    open_s=AT_S,
    heard_s=AT_S,
    ended_s=AT_S,
    revision=1,
)
CALL = {
    **dict.fromkeys(("id", "transport", "direction", "agent", "caller", "called", "state"), "x"),
    **dict.fromkeys(("reason", "outcome", "currency", "verdict", "why"), ""),
    **dict.fromkeys(("length_s", "cost"), 1.0),
    **dict.fromkeys(("turns", "failures", "failovers"), 1),
    "started_at": AT,
    "ended_at": AT,
}
LISTED = ListedCall(
    started_at=AT,
    **dict.fromkeys(("length_s", "cost"), 1.0),
    **dict.fromkeys(
        (
            *("id", "state", "transport", "direction", "number", "name", "agent"),
            *("campaign", "reason", "result", "verdict", "why", "currency"),
        ),
        "",
    ),
)  # type: ignore[arg-type] - by name


FILES: dict[str, Callable[[], str]] = {
    "the alert's webhook": lambda: alert_as_json(ALERT)["began_at"],
    "the alert's end": lambda: alert_as_json(ALERT)["resolved_at"],
    "the sheet of calls": lambda: str(call_row(CALL).cells[1]),
    "the sheet of alerts": lambda: str(next(alert_rows(ALERT)).cells[1]),
    "an export": lambda: json_value(AT.replace(tzinfo=None)),
    "the list of calls as CSV": lambda: cell(LISTED.started_at),
    "the do-not-call list": lambda: seen(
        DoNotCallEntry(number="+4930901820", source="", added_s=AT_S, words=""), numbers=False
    )["added_at"],
}


@pytest.mark.parametrize("written", FILES.values(), ids=FILES)
def test_each_file_has_moments_with_an_offset(written: Callable[[], str]) -> None:
    moment = datetime.fromisoformat(written())

    assert moment.tzinfo is not None
    assert moment == AT


async def test_a_campaigns_csv_has_moments_with_an_offset() -> None:
    async def contacts() -> AsyncIterator[ContactFigures]:
        yield ContactFigures(
            **dict.fromkeys(("number", "name", "state", "reason", "outcome"), ""),  # type: ignore[arg-type]
            attempts=1,
            dials=1,
            length_s=1.0,
            costs=DialCosts(),
            last_s=AT_S,
        )

    _, line = [line async for line in contact_lines(contacts())]
    (row,) = csv.reader(io.StringIO(line))
    assert datetime.fromisoformat(row[-2]) == AT  # before the currency


def test_the_log_has_moments_with_an_offset() -> None:
    assert "{time:YYYY-MM-DDTHH:mm:ss.SSSZ}" in TEXT


def test_an_alert_for_people_names_the_zone() -> None:
    moments = re.findall(r"\d\d:\d\d:\d\d\b.{0,4}", alert_text(ALERT).whole)

    assert moments
    assert all(moment.endswith(" UTC") for moment in moments)


PRODUCT = (
    *("bot", "calls", "campaigns", "configuration"),
    *("fallbacks", "operations", "processors", "transports"),
)
OTHERS_FORMATS = {"transports/plivo/dialling.py"}  # a carrier's own


def test_no_other_module_writes_the_time_of_day() -> None:
    found = {
        str(path.relative_to(ROOT))
        for room in PRODUCT
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"%Y-%m-%d %H|%H:%M:%S", path.read_text(encoding="utf-8"))
    }

    by_us = {"operations/moments.py", "operations/inbox/store.py", "operations/postmortem/page.py"}
    assert found - OTHERS_FORMATS == by_us


def test_no_other_script_writes_the_time_of_day() -> None:
    scripts = (ROOT / "bot" / "server" / "pages").glob("*.js")
    found = {path.name for path in scripts if "toLocale" in path.read_text(encoding="utf-8")}

    assert found == {"dom.js", "latency.js"}  # the latter has the ticks of its axis
