"""The summary of `campaign start` before contacts are called, and a start without any."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.__main__ import run

FREE = {"consent_required": False, "window": {"begin": "00:00", "end": "24:00"}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def configure(**campaign: Any) -> None:
    outbound = {"countries": ["DE", "RU", "US"], "prefixes": ["+800"]}
    tree = {"outbound": outbound, "campaigns": {"spring": {"region": "DE", **FREE, **campaign}}}
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def bring(text: str) -> None:
    Path("contacts.csv").write_text(text, encoding="utf-8")
    run(["campaign", "import", "contacts.csv", "--campaign", "spring"])


def start() -> int:
    return run(["campaign", "start", "--campaign", "spring"])


def test_a_start_says_how_many_where_when_and_for_how_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(daily_spend=20)
    bring("number,name\n030 901844,Eva\n030 901845,Jan\n+12125550188,Mia\n+80012345688,Sat\n")
    capsys.readouterr()

    assert start() == 0

    said = capsys.readouterr().out
    assert "contacts to call: 3 (Eva, Jan, Mia, …)" in said
    assert "countries: DE 2, US 1" in said
    assert "hours: 00:00 to 24:00 in each contact's local time; the first from " in said
    assert "cost: unknown until calls of this campaign have a price, at most 20.00 a day" in said
    assert "not called: 1 (no_zone): the time zone of the number is unknown" in said
    assert said.endswith("spring is running\n")


NOBODY = {  # the changed campaign, what is said
    "no common hour": (
        {"window": {"begin": "09:00", "end": "10:00"}, "prefixes": []},
        "+79161234588",
        "1 (no_common_hour): the number may be in several time zones, and 09:00 to 10:00",
    ),
    "another prefix": ({"prefixes": ["+1"]}, "+4930901844", "1 (prefix_not_allowed): the number"),
    "no consent": ({"consent_required": True}, "+4930901844", "1 (no_consent): kind, date or"),
}


@pytest.mark.parametrize(("changes", "number", "why"), NOBODY.values(), ids=NOBODY)
def test_a_start_without_callable_contacts_gives_the_reason(
    changes: dict[str, Any], number: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    bring(f"number,name\n{number},Eva\n")
    configure(**changes)
    capsys.readouterr()

    assert start() == 1

    said = capsys.readouterr().err
    assert f"spring has no contact that can be called: {why}" in said
    assert said.count("\n") == 1


def test_contacts_that_lack_a_value_are_counted_at_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    bring("number,name,city\n030 901844,Eva,Bonn\n030 901845,,\n")
    configure(greeting="Hello {name}, about {city} and {day}.")
    capsys.readouterr()

    assert start() == 0

    said = capsys.readouterr().out
    assert "without a value for {day}: 2" in said
    assert "without a value for {name}: 1" in said
    assert "without a value for {city}: 1" in said


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_a_person_in_a_terminal_is_asked_first(
    answer: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io  # noqa: PLC0415
    import sys  # noqa: PLC0415

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    configure()
    bring("number,name\n030 901844,Eva\n")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    assert start() == code

    assert ("spring is running" in capsys.readouterr().out) == (code == 0)


def test_a_preview_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    Path("contacts.csv").write_text("number\n030 901844\n12\n030 901844\n", encoding="utf-8")

    code = run(["campaign", "import", "contacts.csv", "--campaign", "spring", "--preview"])
    said = capsys.readouterr().out
    started = start()

    assert (code, started) == (0, 2)
    assert "3 rows (utf-8): 1 added, 0 known before, 2 refused" in said
    assert "duplicate: 1: the number is twice in the file" in said
    assert "nothing was changed: this was a preview" in said
