"""`holdline campaign import --crm`: all people of a CRM, a page at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from bot.__main__ import run
from lab.simulators.faults import Http
from lab.simulators.register.simulator import KnownPerson, RegisterSimulator
from lab.simulators.schedule import Window
from operations.crm.people import PeopleMapping
from operations.crm.rest import RestRequest
from operations.remote import RemoteError

MANY = 250
CONSENT = {"agreed_by": "written", "agreed_on": "2026-11-01", "agreed_in": "form 7"}
COLUMNS = {
    "consent_kind": "agreed_by",
    "consent_date": "agreed_on",
    "consent_source": "agreed_in",
}
REST = {
    "kind": "rest",
    "columns": COLUMNS,
    "mapping": {"people": {"path": "/v1/people?limit=100"}, "fields": {"plan": "plan"}},
}
HUBSPOT = {"kind": "hubspot", "columns": COLUMNS}


def people(many: int) -> list[KnownPerson]:
    """Return people, one without a callable number, and one without consent.

    One name holds half a surrogate, as JSON may have it, which excludes nobody.
    """
    known = [
        KnownPerson(
            id=str(at),
            number=f"+1202555{at:04}",
            name=f"Ada {at}",
            more={**CONSENT, "plan": "x" * 3000},
        )
        for at in range(many)
    ]
    known[3] = KnownPerson(id="3", number="+12025550003", name="Ada \ud83d", more=CONSENT)
    known[7] = KnownPerson(id="7", number="12", name="=1+1", more=CONSENT)
    known[130] = KnownPerson(id="130", number="+12025550130", name="Cyd")
    return known


@contextmanager
def register_beside(known: list[KnownPerson]) -> Iterator[RegisterSimulator]:
    """Run a CRM in a thread of its own: the command has its own loop."""
    loop, register = asyncio.new_event_loop(), RegisterSimulator(people=known)
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(register.start(), loop).result(10)
        yield register
        asyncio.run_coroutine_threadsafe(register.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def configure(crm: dict[str, Any], **more: Any) -> None:
    tree = {"campaigns": {"spring": {"region": "US"}}, "crm": crm, **more}
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def bring(*more: str) -> int:
    return run(["campaign", "import", "--crm", "--campaign", "spring", *more])


@pytest.mark.parametrize("crm", [REST, HUBSPOT], ids=["rest", "hubspot"])
def test_every_page_is_read_and_every_refused_row_is_reported(
    crm: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside(people(MANY)) as register:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        configure({**crm, "url": register.url})
        first, again = bring(), bring()
        asked = [request.path for request in register.record.requests("register")]

    said = capsys.readouterr().out
    assert (first, again) == (0, 0)
    assert f"{MANY} rows (utf-8): {MANY - 2} added, 0 known before, 2 refused" in said
    assert f"{MANY} rows (utf-8): 0 added, {MANY - 2} known before, 2 refused" in said
    assert "no_consent: 1" in said
    assert "line 9: " in said
    assert len(asked) == 2 * 3
    assert "'=1+1" in Path("spring.refused.csv").read_text(encoding="utf-8")


def test_a_failing_crm_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside(people(MANY)) as register:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        configure({**REST, "url": register.url}, resilience={"retry": {"initial_s": 0.02}})
        register.set_faults([Window(fault=Http(status=503), requests=2)])

        assert bring() == 0

    said = capsys.readouterr().out
    assert said.count("The CRM rest is overloaded; retry in") == 2
    assert f"{MANY - 2} added" in said


def test_a_crm_that_is_down_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside([]) as register:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        retry = {"initial_s": 0.01, "attempts": 1}
        configure({**REST, "url": register.url}, resilience={"retry": retry})
        register.set_faults([Window(fault=Http(status=503))])

        assert bring() == 1

    told = capsys.readouterr().err
    assert told.startswith("holdline: crm: no people were listed: The CRM rest is overloaded; it ")
    assert told.count("\n") == 1


def test_a_wrong_key_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside([]) as register:
        monkeypatch.setenv("CRM_TOKEN", "another")
        configure({**REST, "url": register.url})

        assert bring() == 1
        assert len(register.record.requests("register")) == 1

    told = capsys.readouterr().err
    assert "The CRM rest rejects CRM_TOKEN (401); put a valid key" in told
    assert told.count("\n") == 1


WRONG: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "no register": ({"kind": "none"}, [], "--crm: crm.kind is none: set it to own"),
    "our own without a file": ({"kind": "own"}, [], "crm.kind is own: it has no `file`"),
    "one that cannot list people": (
        {"kind": "webhook", "url": "http://127.0.0.1:9"},
        [],
        "crm.kind is webhook: a webhook only receives calls",
    ),
    "no way to ask for pages": (
        {"kind": "rest", "url": "http://127.0.0.1:9", "mapping": {}},
        [],
        "its `mapping` has no `people`",
    ),
    "a file, too": ({"kind": "none"}, ["contacts.csv"], "takes --crm or a file"),
}


@pytest.mark.parametrize(("crm", "more", "line"), WRONG.values(), ids=WRONG)
def test_bad_usage_is_one_line(
    crm: dict[str, Any], more: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(crm)

    assert bring(*more) == 2

    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_our_own_crms_file_is_imported_as_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("people.csv").write_text("number,name\n+12025550142,Ada\n", encoding="utf-8")
    configure({"kind": "own", "file": "people.csv"})

    assert bring() == 1, "every row was refused"

    assert "no_consent: 1" in capsys.readouterr().out


def test_circular_pages_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside(people(MANY)) as register:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        circle = {
            **REST["mapping"],
            "people": {"path": "/v1/people?limit=1", "next": "results.0.plan"},
        }
        configure({**REST, "mapping": circle, "url": register.url})

        assert bring() == 1

    assert "it repeats the page" in capsys.readouterr().err


def test_an_answer_without_people_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside(people(MANY)) as register:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        wrong = {**REST["mapping"], "people": {"path": "/v1/people", "found": "persons"}}
        configure({**REST, "mapping": wrong, "url": register.url})

        assert bring() == 1

    assert "its answer has no contacts at persons" in capsys.readouterr().err


LINKED = {"path": "/v1/linked?limit=100", "found": "value"}


def test_a_next_page_with_a_whole_address_is_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside(people(MANY)) as register:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        configure({**REST, "mapping": {"people": LINKED}, "url": register.url})

        assert bring() == 0
        asked = [request.path for request in register.record.requests("register")]

    assert f"{MANY} rows (utf-8): {MANY - 2} added" in capsys.readouterr().out
    pages = [f"/v1/linked?limit=100{after}" for after in ("", "&after=100", "&after=200")]
    assert asked == pages


def test_a_next_page_at_another_host_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with register_beside(people(MANY)) as register, register_beside(people(MANY)) as stranger:
        monkeypatch.setenv("CRM_TOKEN", register.api_key)
        register.link_origin = stranger.url
        configure({**REST, "mapping": {"people": LINKED}, "url": register.url})

        assert bring() == 1
        assert not stranger.record.requests("register"), "it has no business with our key"

    said = capsys.readouterr().err
    assert "it says: its next page is not at crm.url; check its url" in said
    assert said.count("\n") == 1


HERE = "https://crm.example.com:443/api"
OURS: dict[str, tuple[str, str]] = {
    "same_host": ("https://crm.example.com/api/p?after=2", "/api/p?after=2"),
    "named_port": ("https://crm.example.com:443/p", "/p"),
    "capitals": ("HTTPS://CRM.Example.COM/p", "/p"),
    "a_part_behind_a_hash": ("https://crm.example.com/p?a=1#top", "/p?a=1"),
    "braces": ("https://crm.example.com/p?a={number}", "/p?a={number}"),
    "no_path": ("https://crm.example.com", "/"),
}


@pytest.mark.parametrize(("link", "path"), OURS.values(), ids=OURS)
def test_an_address_of_the_crm_is_requested_unchanged(link: str, path: str) -> None:
    mapping = PeopleMapping(request=RestRequest(method="GET", path="/p"), url=HERE)

    assert mapping.page(link) == RestRequest(method="GET", path=path, rooted=True)


STRANGE: dict[str, str] = {
    "another_host": "https://evil.example.com/p",
    "another_scheme": "http://crm.example.com/p",
    "another_port": "https://crm.example.com:8443/p",
    "a_longer_name": "https://crm.example.com.evil.example/p",
    "a_name_before_an_at": "https://crm.example.com@evil.example/p",
    "a_user": "https://user:word@crm.example.com/p",
    "a_backslash": "https://crm.example.com\\@evil.example/p",
    "a_backslash_in_the_path": "https://crm.example.com/\\evil",
    "a_space": "https://crm.example.com/p q",
    "a_line": "https://crm.example.com/p\r\nx: y",
    "no_port": "https://crm.example.com:x/p",
    "no_host": "https:///p",
    "too_long": "https://crm.example.com/" + "p" * 4000,
}


@pytest.mark.parametrize("link", STRANGE.values(), ids=STRANGE)
def test_an_address_of_another_host_is_not_requested(link: str) -> None:
    mapping = PeopleMapping(request=RestRequest(method="GET", path="/p"), url=HERE)

    with pytest.raises(RemoteError, match=r"not at crm\.url"):
        mapping.page(link)
