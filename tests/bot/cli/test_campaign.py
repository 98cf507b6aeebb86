"""`holdline campaign`: import, changes of state, and figures."""

import asyncio
import csv
from pathlib import Path

import pytest

from bot.__main__ import run
from calls.outbound import Claim, DialOutcome, DialResult, NextStep
from campaigns.guard import rules_of
from campaigns.model import CallingWindow, Campaign
from campaigns.store.queue import Queue
from operations.database.database import Database
from tests.kit.clock import always

CONTACTS = """number,name,consent_kind,consent_date,consent_source
030 901820,"=HYPERLINK(""http://x"")",written,2026-11-01,form 7
030 901821,<b>Bob</b>,written,2026-11-01,form 7
12,Cyd,written,2026-11-01,=1+1
"""
ALWAYS = Campaign(
    name="spring", window=CallingWindow(opens_s=0.0, closes_s=86_400.0), dials_per_minute=6e6
)


CONFIGURATION = "{campaigns: {spring: {region: DE}}, outbound: {countries: [DE]}}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("holdline.yaml").write_text(CONFIGURATION, encoding="utf-8")
    Path("contacts.csv").write_text(CONTACTS, encoding="utf-8")


def test_a_campaign_without_callable_contacts_does_not_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("holdline.yaml").write_text("campaigns: {spring: {region: DE}}", encoding="utf-8")
    run(["campaign", "import", "contacts.csv", "--campaign", "spring"])
    capsys.readouterr()

    assert run(["campaign", "start", "--campaign", "spring"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "outbound.countries is not set" in line
    assert "outbound: {countries: [DE, AT]}" in line


async def talk_with_the_first() -> None:
    store = Queue(Database("sqlite+aiosqlite:///holdline.db"), holder="x")
    now = 1_800_014_400.0
    claim = await store.claim("spring", rules_of(ALWAYS, now=now), now_s=always(now), lease_s=9.0)
    assert isinstance(claim, Claim)
    await store.confirm(claim.dial, now_s=always(now), lease_s=9.0)
    result = DialResult(outcome=DialOutcome.COMPLETED, length_s=90.0, cost=0.25)
    await store.settle(claim.dial, result, then=NextStep(state="done"), now=now + 90)
    await store.database.close()


def test_a_campaign_from_its_file_to_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", "import", "contacts.csv", "--campaign", "spring"]) == 0
    assert run(["campaign", "start", "--campaign", "spring"]) == 0
    asyncio.run(talk_with_the_first())
    assert run(["campaign", "pause", "--campaign", "spring"]) == 0
    assert run(["campaign", "status"]) == 0
    assert run(["campaign", "report", "--campaign", "spring", "--out", "out"]) == 0

    said = capsys.readouterr().out
    assert "line 4: no_area_code" in said
    assert "3 rows (utf-8): 2 added, 0 known before, 1 refused" in said
    assert "spring is running" in said
    assert "spring: paused (operator), 0 calls now" in said
    assert "contacts: 1 done, 1 waiting" in said
    assert "success rate: 100.0 %" in said
    assert "cost per contact: 0.2500 USD" in said
    assert "completed; cost 0.2500 USD" in said


def test_written_tables_hold_no_formula_or_tag() -> None:
    run(["campaign", "import", "contacts.csv", "--campaign", "spring", "--out", "refused.csv"])
    run(["campaign", "report", "--campaign", "spring", "--out", "out"])

    with Path("out/spring.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    with Path("refused.csv").open(encoding="utf-8", newline="") as file:
        cells += [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert '\'=HYPERLINK("http://x")' in cells
    assert "'=1+1" in cells
    assert "<b>" not in Path("out/spring.html").read_text(encoding="utf-8")


def test_a_printed_row_has_no_effect_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("wild.csv").write_text("number,name\n1,\x1b[2J\u202eadA\n", encoding="utf-8")

    run(["campaign", "import", "wild.csv", "--campaign", "spring"])

    said = capsys.readouterr().out
    assert "\\x1b[2J\\u202eadA" in said
    assert not [frame for frame in said if frame in "\x1b\u202e"]


WRONG = {
    "no action of ours": (["dance"], 'not "dance"'),
    "no campaign": (["start"], "name the campaign with --campaign; known: spring"),
    "an unknown campaign": (["start", "--campaign", "summer"], '"summer"; known: spring'),
    "no file": (["import", "--campaign", "spring"], "needs a file, or its URL"),
    "a file that is gone": (["import", "gone.csv", "--campaign", "spring"], "gone.csv cannot be"),
    "half an address": (
        ["import", "http://[", "--campaign", "spring"],
        '"http://[", which is not a valid URL',
    ),
    "no such port": (["import", "http://h:99999/c", "--campaign", "spring"], "is not a valid URL"),
    "no number to remove": (["remove", "--campaign", "spring"], "needs the number of the contact"),
    "a word for a number": (["remove", "Ann", "--campaign", "spring"], "not a telephone number"),
    "a file for a status": (["status", "gone.csv"], "takes no file"),
    "nobody to call": (["start", "--campaign", "spring"], "spring has no contacts"),
    "nothing to report": (["report", "--campaign", "spring"], "spring has no contacts"),
    "no status": (["status"], "there is no such campaign"),
    "a folder that is not there": (
        ["import", "contacts.csv", "--campaign", "spring", "--out", "none/refused.csv"],
        "--out: none/refused.csv cannot be written: No such file or directory",
    ),
    "an empty column": (
        ["import", "contacts.csv", "--campaign", "spring", "--columns", "number,,x"],
        "--columns has 1 empty name(s)",
    ),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["campaign", *arguments]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_url_without_a_server_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    where = "http://127.0.0.1:9/contacts.csv?key=secret"

    assert run(["campaign", "import", where, "--campaign", "spring"]) == 1

    said = capsys.readouterr().err
    assert "cannot be fetched" in said
    assert "secret" not in said


def test_a_campaign_that_does_not_run_is_not_paused_and_a_contact_is_removed_by_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["campaign", "import", "contacts.csv", "--campaign", "spring"])

    assert run(["campaign", "pause", "--campaign", "spring"]) == 2
    assert "spring is ready; pause needs running" in capsys.readouterr().err
    assert run(["campaign", "remove", "030 901820", "--campaign", "spring"]) == 0
    assert run(["campaign", "remove", "030 901899", "--campaign", "spring"]) == 1
    run(["campaign", "status"])

    said = capsys.readouterr()
    assert "+4930****20 is not dialled again by spring" in said.out
    assert "spring has no contact with this number" in said.err
    assert "contacts: 1 excluded, 1 waiting" in said.out
    assert "1 (taken_out): an operator has taken the contact out" in said.out
