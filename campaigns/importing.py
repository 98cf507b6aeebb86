"""Takes a file of contacts into a campaign, a batch of rows at a time, however large it is."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from phonenumbers.re_util import enable_pattern_cache

from campaigns.columns import ContactRow, HeaderError, RowRules, read_contact_row, read_header
from campaigns.csv_encoding import guess_encoding
from campaigns.csv_rows import CsvRow, read_rows
from campaigns.model import Campaign
from campaigns.store.contacts import BATCH, ContactBook, NewContact
from campaigns.window import zone_of

PIECE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What is imported, and how it is read."""

    file: Path
    campaign: Campaign
    now: float
    encoding: str = ""  # empty: guessed
    columns: tuple[str, ...] = ()  # of a file without a header


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that did not become a contact, and why."""

    line: int
    reason: str
    cells: tuple[str, ...]  # none, if it could not even be read


@dataclass(slots=True, kw_only=True)
class ImportTally:
    """What became of the rows of a file."""

    encoding: str = ""
    rows: int = 0
    added: int = 0
    known: int = 0  # in the campaign before: they stay as they are
    refused: Counter[str] = field(default_factory=Counter[str])


class ImportRefusedError(Exception):
    """The file as a whole is no use; one line with the cure."""


Refuse: TypeAlias = Callable[[RefusedRow], None]
_Read: TypeAlias = tuple[CsvRow, ContactRow | str]


async def import_contacts(plan: ImportPlan, book: ContactBook, refuse: Refuse) -> ImportTally:
    """Keep the contacts of a file; tell of every row that is refused, in their order.

    Doing it twice changes nothing. What was kept before an error stays kept.

    Raises:
        ImportRefusedError: It cannot be read, or has no contact in it.
        StorageError: The database did not take it.
    """
    tally = ImportTally()
    enable_pattern_cache()  # a quarter of the reading goes into looking up the patterns else
    try:
        tally.encoding = plan.encoding or await asyncio.to_thread(_guess, plan.file)
        with plan.file.open(encoding=tally.encoding, errors="replace") as text:
            async with aclosing(_batches(_contacts(read_rows(text), plan))) as batches:
                async for batch in batches:
                    await _keep(batch, plan, book, tally, refuse)
    except (OSError, LookupError, UnicodeError) as error:
        raise ImportRefusedError(f"{plan.file} cannot be read: {error}") from error
    except HeaderError as error:
        raise ImportRefusedError(f"{plan.file} {error}") from error
    if not tally.rows:
        raise ImportRefusedError(f"{plan.file} has no row with a contact in it")
    return tally


async def _batches(rows: Iterator[_Read]) -> AsyncGenerator[Sequence[_Read], None]:
    """Give the rows a batch at a time; the next one is read while the last one is written."""
    loop = asyncio.get_running_loop()

    def read() -> asyncio.Future[Sequence[_Read]]:
        # In a thread: a thousand numbers take as long as some frames of a call.
        return loop.run_in_executor(None, lambda: list(islice(rows, BATCH)))

    coming = read()
    try:
        while batch := await coming:
            coming = read()
            yield batch
    finally:
        await asyncio.wait([coming])  # it is at work in a file that is closed next


async def _keep(
    batch: Sequence[_Read], plan: ImportPlan, book: ContactBook, tally: ImportTally, refuse: Refuse
) -> None:
    wanted = [each for _, each in batch if isinstance(each, ContactRow)]
    kept = iter(
        await book.add(plan.campaign.name, [_new(each) for each in wanted], now=plan.now)
        if wanted
        else ()
    )
    for row, each in batch:
        tally.rows += 1
        became = next(kept) if isinstance(each, ContactRow) else each
        if became == "added":
            tally.added += 1
        elif became == "known":
            tally.known += 1
        else:
            tally.refused[became] += 1
            refuse(RefusedRow(line=row.line, reason=became, cells=row.cells))


def _contacts(rows: Iterator[CsvRow], plan: ImportPlan) -> Iterator[_Read]:
    names = plan.columns and read_header(plan.columns)
    campaign = plan.campaign
    rules = RowRules(
        region=campaign.region,
        consent_required=campaign.consent_required,
        today=datetime.fromtimestamp(plan.now, zone_of(campaign.zone) or UTC).date(),
        prefixes=campaign.prefixes,
    )
    for row in rows:
        if row.trouble:
            yield row, row.trouble
        elif not names:
            names = read_header(row.cells)
        elif any(row.cells):
            yield row, read_contact_row(names, row.cells, rules)


def _guess(file: Path) -> str:
    with file.open("rb") as data:
        return guess_encoding(iter(lambda: data.read(PIECE_BYTES), b""))


def _new(row: ContactRow) -> NewContact:
    return NewContact(
        number=row.number,
        name=row.name,
        zones=row.zones,
        fields=row.fields,
        consent=row.consent,
        priority=row.priority,
    )
