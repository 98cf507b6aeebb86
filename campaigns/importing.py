"""Imports a file of contacts into a campaign in batches, so its size does not matter."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from phonenumbers.re_util import enable_pattern_cache

from campaigns.csv_rows import (
    ContactRow,
    CsvRow,
    HeaderError,
    RowRules,
    guess_encoding,
    read_contact_row,
    read_header,
    read_rows,
)
from campaigns.model import Campaign
from campaigns.store.contacts import BATCH, Contacts, NewContact
from operations.numbers import zone_named

MAX_BYTES: Final = 500_000_000  # chosen: five million contacts
PIECE_BYTES: Final = 65_536
TIMEOUT: Final = aiohttp.ClientTimeout(total=600.0, connect=10.0, sock_read=30.0)


class FetchError(Exception):
    """The file cannot be fetched; one line."""


async def fetch_file(url: str, target: Path) -> None:
    """Download a URL into a file.

    Raises:
        FetchError: The download failed; its line hides the login and the query of the URL.
    """
    shown = _without_secrets(url)
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise FetchError(f"{shown} answers {response.status} {response.reason}")
            await _write(response, target, shown)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        said = str(error).partition("\n")[0].replace(url, shown) or type(error).__name__
        raise FetchError(f"{shown} cannot be fetched: {said}") from error


async def _write(response: aiohttp.ClientResponse, target: Path, shown: str) -> None:
    size = 0
    with target.open("wb") as file:
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            size += len(piece)
            if size > MAX_BYTES:
                raise FetchError(f"{shown} is larger than {MAX_BYTES // 1_000_000} MB; split it")
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
    columns: tuple[str, ...] = ()  # for a file without a header


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
    rows: int = 0
    added: int = 0
    known: int = 0  # already in the campaign, and unchanged
    refused: Counter[str] = field(default_factory=Counter[str])


class ImportRefusedError(Exception):
    """The whole file is unusable; one line with the cure."""


Refuse: TypeAlias = Callable[[RefusedRow], None]
_Read: TypeAlias = tuple[CsvRow, ContactRow | str]


async def import_contacts(plan: ImportPlan, book: Contacts, refuse: Refuse) -> ImportTally:
    """Store the contacts of a file; pass each refused row to `refuse`, in order.

    A second import of the same file changes nothing. Batches stored before an error stay stored.

    Raises:
        ImportRefusedError: The file cannot be read, or contains no contact.
        StorageError: The database did not store a batch.
    """
    tally = ImportTally()
    enable_pattern_cache()  # otherwise a quarter of the time is spent looking up patterns
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
    """Yield the rows in batches; the next one is read while the last one is written."""
    loop = asyncio.get_running_loop()

    def read() -> asyncio.Future[Sequence[_Read]]:
        # In a thread: parsing a thousand numbers takes longer than several audio frames of a call.
        return loop.run_in_executor(None, lambda: list(islice(rows, BATCH)))

    coming = read()
    try:
        while batch := await coming:
            coming = read()
            yield batch
    finally:
        await asyncio.wait([coming])  # it reads the file, which is closed next


async def _keep(
    batch: Sequence[_Read], plan: ImportPlan, book: Contacts, tally: ImportTally, refuse: Refuse
) -> None:
    wanted = [contact for _, contact in batch if isinstance(contact, ContactRow)]
    kept = iter(
        await book.add(plan.campaign.name, [_new(contact) for contact in wanted], now=plan.now)
        if wanted
        else ()
    )
    for row, read in batch:
        tally.rows += 1
        became = next(kept) if isinstance(read, ContactRow) else read
        if became == "added":
            tally.added += 1
        elif became == "known":
            tally.known += 1
        else:
            tally.refused[became.partition(":")[0]] += 1  # without its readings
            refuse(RefusedRow(line=row.line, reason=became, cells=row.cells))


def _contacts(rows: Iterator[CsvRow], plan: ImportPlan) -> Iterator[_Read]:
    names = plan.columns and read_header(plan.columns)
    campaign = plan.campaign
    rules = RowRules(
        region=campaign.region,
        consent_required=campaign.consent_required,
        today=datetime.fromtimestamp(plan.now, zone_named(campaign.zone) or UTC).date(),
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
