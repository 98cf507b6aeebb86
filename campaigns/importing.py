"""Imports a file of contacts of any size into a campaign, in batches."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from phonenumbers.re_util import enable_pattern_cache

from calls.outbound import Contact
from campaigns.contact_rows import ContactRow, OptedOutRow, RowRules, read_contact_row
from campaigns.guard import contact_opens_s
from campaigns.model import Campaign
from campaigns.order_rules import OrderRules
from campaigns.placeholders import headings_for, needed_by
from campaigns.store.contacts import BATCH, Contacts, DoNotCallEntry, NewContact
from contacts.contact_columns import YesNoColumns, shown_headings
from contacts.contact_files import (
    ContactFileError,
    CsvRow,
    NotTextError,
    OpenedContacts,
    open_contacts,
)
from contacts.numbers import zone_named
from operations.masking import one_line
from runtime.http import request

MAX_IMPORT_BYTES: Final = 500_000_000  # chosen: five million contacts
PIECE_BYTES: Final = 65_536
TIMEOUT: Final = aiohttp.ClientTimeout(total=600.0, connect=10.0, sock_read=30.0)


MAX_YES_NO: Final = 40  # columns in the sentence: a CRM exports many (chosen)
ABOUT_YES_NO: Final = (
    "Columns with unknown headings that hold only a yes or no, or one mark: {}. If one says who "
    "must not be called, rename it to do_not_call, or to may_call if a yes permits calls, and "
    "import the file again before the campaign starts."
)


class FetchError(Exception):
    """The file cannot be downloaded; the message is one line."""


async def fetch_file(url: str, target: Path) -> None:
    """Download a URL into a file; after an error, the file may hold a part of it.

    Raises:
        FetchError: The download failed, or exceeds `MAX_IMPORT_BYTES`; the message leaves out login
            and query of the URL.
    """
    shown = _without_secrets(url)
    try:
        async with request("GET", url, timeout=TIMEOUT) as response:
            if response.status != 200:
                raise FetchError(f"{shown} answers {response.status} {response.reason}")
            await _write_body(response, target, shown)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        why = str(error).partition("\n")[0].replace(url, shown) or type(error).__name__
        raise FetchError(f"{shown} cannot be fetched: {why}") from error


async def _write_body(response: aiohttp.ClientResponse, target: Path, shown: str) -> None:
    """Write a response's body into a file; raise `FetchError` if it exceeds `MAX_IMPORT_BYTES`."""
    size = 0
    with target.open("wb") as file:
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            size += len(piece)
            if size > MAX_IMPORT_BYTES:
                raise FetchError(
                    f"{shown} is larger than {MAX_IMPORT_BYTES // 1_000_000} MB; split it"
                )
            await asyncio.to_thread(file.write, piece)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What to import, and how to read it."""

    file: Path
    campaign: Campaign
    now: float
    encoding: str = ""  # guessed if empty
    region: str = ""  # `server.region`, for a campaign without a region
    columns: tuple[str, ...] = ()  # for a file without a header
    order_rules: OrderRules = field(default_factory=OrderRules)  # the rules of the gate

    @property
    def number_region(self) -> str:
        """The country of numbers without a country code; also used to guess the encoding."""
        return self.campaign.region or self.region


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that did not become a contact, and why."""

    line: int
    reason: str
    cells: tuple[str, ...]  # empty if the row cannot be parsed


@dataclass(slots=True, kw_only=True)
class ImportTally:
    """Counts of an import."""

    encoding: str = ""
    sample: tuple[str, ...] = ()  # cells that show whether the guessed encoding is right
    rows: int = 0
    added: int = 0
    updated: int = 0  # already in the campaign, and completed from this file
    known: int = 0  # already in the campaign, and unchanged
    refused: Counter[str] = field(default_factory=Counter[str])
    never: Counter[str] = field(default_factory=Counter[str])  # imported, but cannot be called
    yes_no_columns: tuple[str, ...] = ()  # which may say who must not be called: see `YesNoColumns`
    hours: dict[tuple[str, ...], float | str] = field(  # results of `contact_opens_s`, by zones
        default_factory=dict[tuple[str, ...], float | str], repr=False
    )

    @property
    def in_campaign(self) -> int:
        """How many of the rows are contacts of the campaign now."""
        return self.added + self.updated + self.known

    @property
    def about_columns(self) -> str:
        """A sentence about the `yes_no_columns`; empty without any."""
        shown = one_line(shown_headings(self.yes_no_columns, most=MAX_YES_NO))
        return ABOUT_YES_NO.format(shown) if shown else ""


class ImportRefusedError(Exception):
    """The whole file is unusable; the message is one line with the cure."""


class ContentRefusedError(ImportRefusedError):
    """The file can be read, but holds no contacts for this campaign."""


Refuse: TypeAlias = Callable[[RefusedRow], None]
_ReadRow: TypeAlias = tuple[CsvRow, ContactRow | OptedOutRow | str]
"""A row, and its contact or the code of the reason for its refusal."""


async def import_contacts(plan: ImportPlan, contacts: Contacts, refuse: Refuse) -> ImportTally:
    """Store the contacts of a file; pass each refused row to `refuse`, in order.

    Numbers of people whose row clearly says that they opted out are put on the do-not-call list.
    Importing a file again changes nothing. Batches that were stored before an error stay stored.

    Raises:
        ImportRefusedError: The file cannot be read, or contains no contact.
        StorageError: The database did not store a batch.
    """
    tally = ImportTally()
    enable_pattern_cache()  # otherwise a quarter of the time is spent looking up patterns
    try:
        async with _open_in_thread(plan) as opened:
            tally.encoding, tally.sample = opened.encoding.name, opened.encoding.sample
            rules = _row_rules(plan, opened)
            yes_no = YesNoColumns(opened.columns.headings, opened.columns.meanings)
            async with aclosing(_read_batches(_read_contacts(opened, rules, yes_no))) as batches:
                async for batch in batches:
                    await _store_batch(batch, plan, contacts, tally, refuse)
            tally.yes_no_columns = yes_no.found
    except (OSError, LookupError, UnicodeError) as error:
        raise ImportRefusedError(f"{plan.file} cannot be read: {error}") from error
    except NotTextError as error:
        raise ContentRefusedError(f"{plan.file} {error}") from error
    except ContactFileError as error:
        raise ImportRefusedError(f"{plan.file} {error}") from error
    if not tally.rows:
        raise ImportRefusedError(f"{plan.file} has no row with a contact in it")
    return tally


async def _read_batches(rows: Iterator[_ReadRow]) -> AsyncGenerator[Sequence[_ReadRow], None]:
    """Yield the rows in batches; the next batch is read while the caller stores the last one."""
    loop = asyncio.get_running_loop()

    def read() -> asyncio.Future[Sequence[_ReadRow]]:
        # In a thread: parsing a thousand numbers takes longer than several audio frames of a call.
        return loop.run_in_executor(None, lambda: list(islice(rows, BATCH)))

    next_batch = read()
    try:
        while batch := await next_batch:
            next_batch = read()
            yield batch
    finally:
        await asyncio.wait([next_batch])  # so that the file is not closed while the thread reads it


async def _store_batch(
    batch: Sequence[_ReadRow],
    plan: ImportPlan,
    contacts: Contacts,
    tally: ImportTally,
    refuse: Refuse,
) -> None:
    """Store the contacts of a batch; count every row, and pass on those that are refused.

    Numbers of people who opted out are listed first, so that no row of this batch stores them.
    """
    await _list_opted_out(batch, plan, contacts)
    accepted = [
        _new_contact(read, plan, tally) for _, read in batch if isinstance(read, ContactRow)
    ]
    results = await contacts.add(plan.campaign.name, accepted, now=plan.now) if accepted else ()
    stored = iter(zip(accepted, results, strict=True))
    for row, read in batch:
        tally.rows += 1
        if isinstance(read, str | OptedOutRow):
            contact, result = None, read if isinstance(read, str) else read.reason
        else:
            contact, result = next(stored)
        if contact and result in ("added", "updated", "known"):
            _count_contact(contact, result, tally)
        else:
            tally.refused[result.partition(":")[0]] += 1  # without the details after the code
            refuse(RefusedRow(line=row.line, reason=result, cells=row.cells))


async def _list_opted_out(batch: Sequence[_ReadRow], plan: ImportPlan, contacts: Contacts) -> None:
    """Put people who clearly opted out on the do-not-call list; a dry import lists no one.

    Another row, or an earlier import, may have their number without the column.
    """
    entries = [
        DoNotCallEntry(number, "import", plan.now, read.reason)
        for _, read in batch
        if isinstance(read, OptedOutRow)
        for number in read.numbers
    ]
    if entries and not contacts.dry:
        await contacts.add_do_not_call_entries(entries)


def _count_contact(contact: NewContact, result: str, tally: ImportTally) -> None:
    """Count a stored contact in the tally, also by the reason why it is never called."""
    if result == "added":
        tally.added += 1
    elif result == "updated":
        tally.updated += 1
    else:
        tally.known += 1
    if contact.never:
        tally.never[contact.never] += 1


@asynccontextmanager
async def _open_in_thread(plan: ImportPlan) -> AsyncIterator[OpenedContacts]:
    """Open the file in a thread, because finding its encoding may read all of it."""
    opening = open_contacts(
        plan.file,
        region=plan.number_region,
        encoding=plan.encoding,
        columns=plan.columns,
    )
    opened = await asyncio.to_thread(opening.__enter__)
    try:
        yield opened
    finally:
        opening.__exit__(None, None, None)  # only closes the file


def _row_rules(plan: ImportPlan, opened: OpenedContacts) -> RowRules:
    """Return the rules of each row.

    Raises:
        ContentRefusedError: The file has no column for a placeholder in the campaign's texts.
    """
    campaign, needed = plan.campaign, needed_by(plan.campaign)
    headings, missing = headings_for(needed, opened.columns)
    if missing:
        raise ContentRefusedError(f"{plan.file} {_no_column(campaign.name, missing, needed)}")
    return RowRules(
        region=plan.number_region,
        consent_required=campaign.consent_required,
        today=datetime.fromtimestamp(plan.now, zone_named(campaign.zone) or UTC).date(),
        prefixes=campaign.prefixes,
        order_rules=plan.order_rules,
        headings=headings,
        needed=tuple(needed),
    )


def _no_column(campaign: str, missing: Sequence[str], needed: Mapping[str, Sequence[str]]) -> str:
    uses = ", ".join(
        f"{{{name}}} in campaigns.{campaign}.{' and '.join(needed[name])}" for name in missing
    )
    return f"has no column for {uses}; add the column, or take the placeholder out of the text"


def _read_contacts(
    opened: OpenedContacts, rules: RowRules, yes_no: YesNoColumns
) -> Iterator[_ReadRow]:
    """Yield each row with its contact or refusal; `yes_no` gets the cells of all of them."""
    for row, cells in opened.rows:
        yes_no.add(row.cells)
        yield row, row.trouble if cells is None else read_contact_row(cells, rules)


def _new_contact(row: ContactRow, plan: ImportPlan, tally: ImportTally) -> NewContact:
    """Return a row's contact; `never` says why its zones rule out a call.

    The result is remembered in `tally.hours` by the zones, because only they make a difference.
    """
    contact = NewContact(
        number=row.number,
        name=row.name,
        zones=row.zones,
        zone_given=row.zone_given,
        fields=row.fields,
        consent=row.consent,
        priority=row.priority,
    )
    if row.zones not in tally.hours:  # the row has passed the campaign's other rules
        called = Contact(id=0, campaign="", number=row.number, zones=row.zones, consent=row.consent)
        tally.hours[row.zones] = contact_opens_s(plan.campaign, called, plan.now)
    opens = tally.hours[row.zones]
    return replace(contact, never=opens) if isinstance(opens, str) else contact
