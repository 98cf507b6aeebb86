"""`holdline inbox`: the open entries, closing and reopening them, and wrong arguments."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.__main__ import run
from operations.database.database import Database
from operations.record.callbacks import Callback, Callbacks

NUMBER = "+15551230101"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def _ask_for_callback(reason: str = "a new contract") -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with Database("sqlite+aiosqlite:///holdline.db") as database:
        wanted = Callback(call_id="c1", number=NUMBER, reason=reason, asked_at=at)
        await Callbacks(database).add(wanted)


def test_an_entry_is_shown_closed_and_reopened(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(_ask_for_callback())
    commands = (
        ["inbox"], ["inbox", "--numbers"], ["inbox", "done", "c1"], ["inbox"],
        ["inbox", "--done"], ["inbox", "reopen", "c1"],
    )  # fmt: skip

    codes = [run(command) for command in commands]

    shown, whole, closed, none, done, reopened = capsys.readouterr().out.splitlines()
    assert codes == [0] * len(commands)
    assert shown == "2026-03-01 12:00 UTC  callback  +1555****01  a new contract  (call c1)"
    assert NUMBER in whole
    assert (closed, none) == ("the callback of call c1 is done", "Nobody waits.")
    assert "(call c1)" in done
    assert reopened == "the callback of call c1 waits again"


def test_a_callback_without_a_reason_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(_ask_for_callback(reason=""))
    run(["inbox"])

    assert "No reason was given.  (call c1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["done"], 2, 'inbox takes nothing, "done CALL" or "reopen CALL", not "done"'),
        (["close", "c1"], 2, 'not "close c1"'),
        (["done", "c9", "--numbers"], 2, "are for the list: leave them out with done CALL"),
        (["done", "c9"], 1, 'nothing of call "c9" waits; holdline inbox lists the entries'),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_ask_for_callback())

    assert run(["inbox", *arguments]) == code
    assert said in capsys.readouterr().err
