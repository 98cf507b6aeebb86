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
from campaigns.store.contacts import BATCH, ContactStore, NewContact
from campaigns.window import zone_of

MOST_BYTES: Final = 500_000_000  # chosen: five million contacts
PIECE_BYTES: Final = 65_536
TIMEOUT: Final = aiohttp.ClientTimeout(total=600.0, connect=10.0, sock_read=30.0)


class FetchError(Exception):
    """There is no such file, or it did not come; one line."""


async def fetch_file(url: str, target: Path) -> None:
    """Write what a URL holds into a file, a piece at a time.

    Raises:
        FetchError: It did not come whole; the line shows no login and no query of the URL.
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
            if size > MOST_BYTES:
                raise FetchError(f"{shown} is larger than {MOST_BYTES // 1_000_000} MB; split it")
            await asyncio.to_thread(file.write, piece)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


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


async def import_contacts(plan: ImportPlan, book: ContactStore, refuse: Refuse) -> ImportTally:
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
    batch: Sequence[_Read], plan: ImportPlan, book: ContactStore, tally: ImportTally, refuse: Refuse
) -> None:
    wanted = [contact for _, contact in batch if isinstance(contact, ContactRow)]
    kept = iter(
        await book.add(plan.campaign.name, [_new(contact) for contact in wanted], now=plan.now)
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
