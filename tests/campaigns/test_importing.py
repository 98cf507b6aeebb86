"""Imports of contacts: every row is kept or refused with a reason."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from calls.outbound import CallConsent, Claim
from campaigns.guard import rules_of
from campaigns.importing import (
    FetchError,
    ImportPlan,
    ImportRefusedError,
    ImportTally,
    RefusedRow,
    fetch_file,
    import_contacts,
)
from campaigns.model import Campaign
from campaigns.order_gate import read_called
from campaigns.order_rules import OrderRules, judge_number
from campaigns.refusals import CURES
from campaigns.store.contacts import BATCH, Contacts
from campaigns.store.queue import Queue
from operations.database.database import Database
from runtime.hosts import use_proxies
from tests.kit.clock import always
from tests.kit.databases import on_sqlite
from tests.kit.served import served

NOW = 1_800_014_400.0  # 2027-01-15, 12:00 UTC
SPRING = Campaign(name="spring", region="DE", dials_per_minute=6e6, concurrent=100)
HEADER = "number,name,consent_kind,consent_date,consent_source"
CONSENT = "written,2026-11-01,form 7"
NO_COUNTRIES = OrderRules()


@pytest.fixture
async def book(url: str) -> AsyncIterator[Contacts]:
    book = Contacts(Database(url))
    yield book
    await book.database.close()


class Importing:
    """Imports texts as files into one campaign, and keeps the refusals."""

    def __init__(self, book: Contacts, folder: Path) -> None:
        self._book = book
        self._file = folder / "contacts.csv"
        self.refused: list[RefusedRow] = []
        self._now = NOW

    async def take(
        self,
        text: str | bytes,
        campaign: Campaign = SPRING,
        *,
        columns: tuple[str, ...] = (),
        encoding: str = "",
        order_rules: OrderRules = NO_COUNTRIES,
    ) -> ImportTally:
        data = text if isinstance(text, bytes) else text.encode()
        self._file.write_bytes(data)
        self._now += 1.0
        plan = ImportPlan(
            file=self._file,
            campaign=campaign,
            now=self._now,
            columns=columns,
            encoding=encoding,
            order_rules=order_rules,
        )
        return await import_contacts(plan, self._book, self.refused.append)

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(row.line, row.reason) for row in self.refused]


@pytest.fixture
def importing(book: Contacts, tmp_path: Path) -> Importing:
    return Importing(book, tmp_path)


async def claimed(url: str, campaign: Campaign = SPRING) -> list[Claim]:
    store = Queue(Database(url), holder="x")
    await store.move(campaign.name, "running", now=NOW)
    found = []
    rules = rules_of(campaign, now=NOW + 1e4)
    while isinstance(
        claim := await store.claim("spring", rules, now_s=always(NOW + 1e4), lease_s=9), Claim
    ):
        found.append(claim)
    await store.database.close()
    return found


class TestImport:
    async def test_a_row_becomes_a_contact_with_all_its_fields(
        self, importing: Importing, url: str
    ) -> None:
        tally = await importing.take(
            "Phone;Full name;Consent;Consent date;Consent source;City;Priority\n"
            '030 901820;"Müller; Ada";written;2026-11-01;form 7;Berlin;5\n'
        )

        (claim,) = await claimed(url)
        contact = claim.contact
        assert (tally.rows, tally.added, importing.refused) == (1, 1, [])
        assert (contact.number, contact.name) == ("+4930901820", "Müller; Ada")
        assert contact.zones == ("Europe/Berlin",)
        assert contact.consent == CallConsent(
            kind="written", given_on="2026-11-01", source="form 7"
        )
        assert (contact.fields, contact.priority) == ({"City": "Berlin"}, 5)

    async def test_importing_a_file_again_changes_nothing(
        self, importing: Importing, url: str
    ) -> None:
        text = f"{HEADER}\n030 901820,Ada,{CONSENT}\n030 901821,Bob,{CONSENT}\n"

        first, again = await importing.take(text), await importing.take(text)

        assert (first.added, first.known) == (2, 0)
        assert (again.added, again.known, again.refused.total()) == (0, 2, 0)
        assert len(await claimed(url)) == 2

    @on_sqlite
    async def test_a_number_twice_in_a_file_is_kept_once_however_far_apart(
        self, importing: Importing
    ) -> None:
        rows = "".join(f"030 90{index:04},x,{CONSENT}\n" for index in range(BATCH + 5))
        tally = await importing.take(f"{HEADER}\n{rows}+4930900001,again,{CONSENT}\n")

        assert tally.added == BATCH + 5
        assert importing.reasons == [(BATCH + 7, "duplicate")]

    @on_sqlite
    async def test_an_optional_consent_is_kept(self, importing: Importing, url: str) -> None:
        free = replace(SPRING, consent_required=False)
        await importing.take(f"{HEADER}\n030 901820,Ada,,,\n030 901821,Bob,{CONSENT}\n", free)

        kept = [claim.contact.consent for claim in await claimed(url, free)]

        assert kept == [None, CallConsent(kind="written", given_on="2026-11-01", source="form 7")]

    @on_sqlite
    async def test_every_refused_row_is_reported_in_order_over_many_batches(
        self, importing: Importing
    ) -> None:
        bad = range(0, BATCH + 20, 7)
        rows = [f"030 90{index:04},x,{CONSENT}" for index in range(BATCH + 20)]
        for line in bad:
            rows[line] = f"not a number,x,{CONSENT}"

        tally = await importing.take("\n".join((HEADER, *rows, "")))

        assert importing.reasons == [(line + 2, "not_a_number") for line in bad]
        assert tally.added == len(rows) - len(bad)
        assert tally.refused == {"not_a_number": len(bad)}


REFUSED = {
    "no number": (f",Ada,{CONSENT}", "no_number"),
    "no such number": (f"12345678901234567890,Ada,{CONSENT}", "too_long"),
    "a formula": (f"=1+1,Ada,{CONSENT}", "not_a_number"),
    "no consent": ("030 901820,Ada,,,", "no_consent"),
    "half a consent": ("030 901820,Ada,written,2026-11-01,", "no_consent"),
    "a consent without a day": ("030 901820,Ada,written,yesterday,form", "wrong_consent_date"),
    "a consent of tomorrow": ("030 901820,Ada,written,2027-01-16,form", "consent_in_future"),
    "a cell too many": (f"030 901820,Ada,{CONSENT},extra", "too_many_cells"),
    "a zero byte": (f"030 901820,A\x00da,{CONSENT}", "zero_byte"),
    "a megabyte": (f"030 901820,{'x' * 1_000_000},{CONSENT}", "line_too_long"),
    "an open quote": (f'030 901820,"Ada,{CONSENT}', "quote_not_closed"),
    "on the list": (f"030 901829,Ada,{CONSENT}", "do_not_call"),
    "a prefix that is not ours": (f"+12025550143,Ada,{CONSENT}", "prefix_not_allowed"),
}


@on_sqlite
@pytest.mark.parametrize(("row", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_row_has_a_reason_and_does_not_affect_others(
    importing: Importing, book: Contacts, row: str, reason: str
) -> None:
    await book.add_do_not_call("+4930901829", source="letter", now=NOW)
    german = replace(SPRING, prefixes=("+49",))

    tally = await importing.take(
        f"{HEADER}\n030 901821,Bob,{CONSENT}\n{row}\n030 901822,Cyd,{CONSENT}\n", german
    )

    assert (tally.rows, tally.added) == (3, 2)
    assert importing.reasons == [(3, reason)]
    assert tally.refused == {reason: 1}


@on_sqlite
async def test_ambiguous_numbers_are_refused_with_both_readings_and_counted_together(
    importing: Importing,
) -> None:
    rows = f"4915112345678,Ada,{CONSENT}\n491711234567,Bob,{CONSENT}\n4930901820,Cyd,{CONSENT}\n"
    tally = await importing.take(f"{HEADER}\n{rows}")

    assert (tally.added, tally.refused) == (1, {"ambiguous": 2})
    assert importing.reasons == [
        (2, "ambiguous: +494915112345678 or +4915112345678"),
        (3, "ambiguous: +49491711234567 or +491711234567"),
    ]


@on_sqlite
async def test_a_consent_dated_tomorrow_by_the_campaigns_clock_is_refused(
    importing: Importing,
) -> None:
    there = replace(SPRING, zone="Pacific/Auckland")

    tally = await importing.take(f"{HEADER}\n030 901821,Bob,written,2027-01-16,form\n", there)

    assert (tally.added, tally.refused) == (1, {})


MORE_COLUMNS = {
    "a zone that is none": ("zone", "Mars/Olympus", "unknown_zone"),
    "a priority that is none": ("priority", "high", "wrong_priority"),
    "a priority beyond all": ("priority", "9999", "wrong_priority"),
    "a novel": ("story", "x" * 9000, "too_much_text"),
}


@on_sqlite
@pytest.mark.parametrize(("column", "cell", "reason"), MORE_COLUMNS.values(), ids=MORE_COLUMNS)
async def test_any_other_column_may_be_invalid_too(
    importing: Importing, column: str, cell: str, reason: str
) -> None:
    await importing.take(f"{HEADER},{column}\n030 901820,Ada,{CONSENT},{cell}\n")

    assert importing.reasons == [(2, reason)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "cp1251", "utf-32"])
@on_sqlite
async def test_a_name_is_kept_from_any_encoding(
    importing: Importing, url: str, encoding: str
) -> None:
    text = f"{HEADER}\n+74951234567,Анна Каренина,письменно,2026-11-01,форма\n"

    tally = await importing.take(text.encode(encoding))

    assert tally.encoding in (encoding, "utf-8-sig", "utf-16")
    (claim,) = await claimed(url)
    assert claim.contact.name == "Анна Каренина"


WESTERN = {
    "Western Windows": ("cp1252", "Zoé Lefèvre – ‘Zo’"),  # noqa: RUF001 - as Windows writes it
    "Latin-1": ("latin-1", "Zoé Lefèvre"),
    "Latin-1 with what Windows does not know": ("latin-1", "Zoé \x81"),
}


@on_sqlite
@pytest.mark.parametrize(("encoding", "name"), WESTERN.values(), ids=WESTERN)
async def test_a_western_name_is_kept(
    importing: Importing, url: str, encoding: str, name: str
) -> None:
    tally = await importing.take(f"{HEADER}\n030 901820,{name},{CONSENT}\n".encode(encoding))

    assert (tally.added, importing.refused) == (1, [])
    (claim,) = await claimed(url)
    assert claim.contact.name == name


@on_sqlite
async def test_a_file_in_an_encoding_other_than_stated_loses_only_the_affected_rows(
    importing: Importing,
) -> None:
    text = f"{HEADER}\n030 901820,Zoé,{CONSENT}\n030 901821,Bob,{CONSENT}\n"

    tally = await importing.take(text.encode("latin-1"), encoding="utf-8")

    assert (tally.added, importing.reasons) == (1, [(2, "wrong_encoding")])


@on_sqlite
@pytest.mark.parametrize(
    ("heading", "cell", "is_listed"),
    [
        *(("DONOTCALL", "1", True), ("Nicht anrufen", "seit Mai", False), ("Opt-out", "ja", True)),
        *(("Status", "Do Not Call", True), ("Disposition", "DNC", True)),
        ("Bemerkung", "bitte nicht anrufen!", True),
    ],
)
async def test_a_person_who_opted_out_is_refused_and_not_called_because_of_another_row(
    importing: Importing, book: Contacts, heading: str, cell: str, *, is_listed: bool
) -> None:
    header = f"{HEADER},{heading}"
    await importing.take(f"{HEADER}\n+4930901821,Bob,{CONSENT}\n")

    tally = await importing.take(
        f"{header}\n+4930901820,Ada,{CONSENT},\n+4930901821,Bob,{CONSENT},{cell}\n"
    )

    assert tally.added == 1
    assert importing.reasons == [(3, f"opted_out: {heading}")]
    assert await book.do_not_call(["+4930901820", "+4930901821"]) == frozenset(
        ["+4930901821"] if is_listed else []
    )


@on_sqlite
@pytest.mark.parametrize("cell", ["Not called yet", "never called", "no calls", "Call back", "no"])
async def test_a_status_about_calls_that_were_made_forbids_none(
    importing: Importing, cell: str
) -> None:
    tally = await importing.take(f"{HEADER},Status\n+4930901820,Ada,{CONSENT},{cell}\n")

    assert (tally.added, tally.refused.total()) == (1, 0)


@on_sqlite
async def test_a_preview_lists_no_person_who_opted_out(book: Contacts, tmp_path: Path) -> None:
    importing = Importing(Contacts(book.database, dry=True), tmp_path)

    tally = await importing.take(f"{HEADER},DNC\n+4930901821,Bob,{CONSENT},1\n")

    assert tally.refused == {"opted_out": 1}
    assert not await book.do_not_call(["+4930901821"])


def test_each_of_many_columns_that_may_forbid_calls_is_named() -> None:
    columns = tuple(f"Flag {number}" for number in range(20))

    assert "Flag 19" in ImportTally(yes_no_columns=columns).about_columns
    assert not ImportTally().about_columns


WHOLE = {
    "nothing": ("", "has no row with a contact in it"),
    "a header alone": (f"{HEADER}\n", "has no row with a contact in it"),
    "no header": (f"030 901820,Ada,{CONSENT}\n", "or name them with --columns"),
    "no header above several contacts": (
        f"030 901820,Ada,{CONSENT}\n030 901821,Bob,{CONSENT}\n",
        "or name them with --columns",
    ),
    "two columns of one name": ("number,zone,tz\n1,2,3\n", "names the column zone twice"),
}


@on_sqlite
@pytest.mark.parametrize(("text", "says"), WHOLE.values(), ids=WHOLE)
async def test_an_unusable_file_is_one_line(importing: Importing, text: str, says: str) -> None:
    with pytest.raises(ImportRefusedError, match=says) as wrong:
        await importing.take(text)
    assert len(str(wrong.value).splitlines()) == 1


@on_sqlite
async def test_a_file_without_a_header_is_read_by_the_named_columns(
    importing: Importing,
) -> None:
    tally = await importing.take(f"030 901820,Ada,{CONSENT}\n", columns=tuple(HEADER.split(",")))

    assert (tally.rows, tally.added) == (1, 1)


@on_sqlite
async def test_an_unknown_encoding_is_one_line(importing: Importing) -> None:
    with pytest.raises(ImportRefusedError, match="unknown encoding"):
        await importing.take(f"{HEADER}\n", encoding="klingon")


async def test_a_file_comes_through_the_proxy(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(str(request.url))
        return web.Response(body=b"number\n")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    use_proxies({"HTTP_PROXY": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    try:
        await fetch_file("http://contacts.invalid/list.csv", tmp_path / "contacts.csv")
    finally:
        use_proxies({})
        await runner.cleanup()

    assert asked == ["http://contacts.invalid/list.csv"]
    assert (tmp_path / "contacts.csv").read_bytes() == b"number\n"


async def test_a_file_comes_from_a_url(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/gone":
            raise web.HTTPNotFound
        return web.Response(body=b"x" * 200_000)

    application = web.Application()
    application.router.add_get("/{name}", answer)
    file = tmp_path / "contacts.csv"
    async with served(application) as place:
        await fetch_file(f"{place}/contacts.csv", file)
        with pytest.raises(FetchError) as gone:
            await fetch_file(f"{place}/gone?key=secret", file)
    with pytest.raises(FetchError) as away:
        await fetch_file(f"{place}/contacts.csv?key=secret", file)

    assert file.stat().st_size == 200_000
    assert "404" in str(gone.value)
    for error in (gone, away):
        assert "secret" not in str(error.value)


GATED = (
    *("+4930901820", "+4915112345678", "+499001234567", "+491805123456"),  # Germany
    *("+19002345678", "+979123456789", "+447012345678", "+881612345678"),  # costly elsewhere
    *("+252612345678", "+18765551234", "+43512345678"),  # other countries
)
RULES = {
    "no countries yet": NO_COUNTRIES,
    "one country": OrderRules(countries=("DE",)),
    "a prefix": OrderRules(prefixes=("+43", "+4930")),
    "a costly class": OrderRules(countries=("DE",), cost_classes=("premium", "satellite")),
}


@on_sqlite
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
async def test_an_import_refuses_numbers_that_every_dial_request_would_refuse(
    importing: Importing, rules: OrderRules
) -> None:
    gate = rules if rules.opened else OrderRules(prefixes=("+",))
    refusals = [judge_number(read_called(number, ""), gate) for number in GATED]

    rows = "".join(f"{number},Ada,{CONSENT}\n" for number in GATED)
    await importing.take(f"{HEADER}\n{rows}", order_rules=rules)

    reasons = [(line, reason.partition(":")[0]) for line, reason in importing.reasons]
    assert reasons == [(line, it.reason) for line, it in enumerate(refusals, start=2) if it]
    assert {reason for _, reason in reasons} <= CURES.keys()
