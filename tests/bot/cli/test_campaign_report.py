"""`holdline campaign report`: the page, the file, and the printed line."""

import asyncio
from pathlib import Path

import pytest
import yaml

from bot.__main__ import run
from calls.outbound import DialOutcome, DialResult, NextStep
from campaigns.store.dials import DialUse, Ledger
from operations.database.database import Database
from tests.campaigns.store.campaign_queue import LEASE_S, NOON, new_contacts, open_queue
from tests.kit.clock import always
from tests.small_disk import mounted


async def campaign_in(url: str) -> None:
    """Dial two contacts: one who left before an answer, and one who was busy."""
    queue, calls = open_queue(url, "x"), Ledger(Database(url))
    await queue.fill(new_contacts(2))
    for outcome in (DialOutcome.COMPLETED, DialOutcome.BUSY):
        claim = await queue.take()
        await queue.store.confirm(claim.dial, now_s=always(NOON), lease_s=LEASE_S)
        await queue.store.note_placed(claim.dial, f"CA-{claim.dial.id}")
        result = DialResult(outcome=outcome, length_s=6.0)
        await queue.store.settle(claim.dial, result, then=NextStep(state="done"), now=NOON + 36.0)
        if outcome is DialOutcome.COMPLETED:
            await calls.note_use(DialUse(dial_id=claim.dial.id, cost=0.0125, abandoned=True))
    await queue.close()
    await calls.database.close()


async def contacts_in(url: str, many: int) -> None:
    queue = open_queue(url, "x")
    await queue.fill(new_contacts(many))
    await queue.close()


def test_a_report_has_both_parts_of_the_cost_and_the_key_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    tree = {"campaigns": {"spring": {"region": "US"}}, "storage": {"url": url}}
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    asyncio.run(campaign_in(url))

    assert run(["campaign", "report", "--campaign", "spring", "--out", "out"]) == 0

    said = capsys.readouterr().out
    assert "abandoned calls: 1 (100.0 %)" in said
    assert "breakers open: 0.0 s" in said
    assert "alerts per hour: 0.0 (0 in all)" in said
    assert "cost: 0.0125 USD (1 without the carrier's price)" in said
    html = Path("out/spring.html").read_text(encoding="utf-8")
    assert "<th>breakers open</th>" in html
    assert '<td class="number">0.0125 USD (1 without' in html
    assert "<td>1 without the carrier's price</td>" in html
    lines = Path("out/spring.csv").read_text(encoding="utf-8").splitlines()
    assert (lines[0].endswith(",currency"), lines[1].endswith(",USD")) == (True, True)
    assert ",,0.0125,0.0125,1 without the carrier's price," in lines[1]
    assert ",0.0000,0.0000,0.0000,," in lines[2]


def test_a_report_that_does_not_fit_on_the_disk_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite+aiosqlite:///{tmp_path}/holdline.db"
    tree = {"campaigns": {"spring": {"region": "US"}}, "storage": {"url": url}}
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    report = ["campaign", "report", "--campaign", "spring", "--out", "out"]
    asyncio.run(campaign_in(url))
    with mounted(tmp_path / "out") as disk:
        assert run(report) == 0
        written = {path.name: path.read_bytes() for path in disk.folder.iterdir()}
        asyncio.run(contacts_in(url, many=900))
        disk.fill()
        assert run(report) != 0
        disk.make_room()

        assert {path.name: path.read_bytes() for path in disk.folder.iterdir()} == written
