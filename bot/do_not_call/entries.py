"""`holdline dnc`: shows, changes, imports and exports the do-not-call list."""

import asyncio
import csv
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TextIO, TypeVar

from campaigns.store.contacts import BATCH, Contacts, DoNotCallEntry
from contacts.contact_columns import fold
from contacts.contact_files import (
    ContactCells,
    ContactFileError,
    CsvRow,
    NotTextError,
    OpenedContacts,
    open_contacts,
)
from contacts.numbers import AMBIGUOUS, readings_of
from operations.csv_cells import plain_cell, safe_cell
from operations.database.database import Database, StorageError
from operations.masking import counted, mask_number, one_line
from operations.moments import iso
from runtime.clock import utc_now
from runtime.exits import CommandError, UsageError

Say = Callable[[str], None]
T = TypeVar("T")
COLUMNS: Final = ("number", "source", "added_at", "words")
MAX_LIST_BYTES: Final = 100_000_000  # chosen: about five million numbers
MAX_SHOWN: Final = 10  # refused numbers printed in the terminal


def seen(entry: DoNotCallEntry, *, numbers: bool) -> Mapping[str, str]:
    """Return an entry as shown to people; number and words are masked unless `numbers` is true."""
    return {
        "number": entry.number if numbers else mask_number(entry.number),
        "source": entry.source,
        "added_at": iso(entry.added_s, "seconds"),
        "words": entry.words if numbers else counted(entry.words),
    }


def list_entries(url: str, *, most: int, numbers: bool, say: Say) -> int:
    """Print the newest `most` entries, masked unless `numbers` is true. Return the exit code.

    Raises:
        CommandError: The database cannot be used.
    """
    entries = _run_on_database(url, lambda contacts: contacts.do_not_call_entries(most=most + 1))
    for entry in entries[:most]:
        shown = seen(entry, numbers=numbers)
        words = f'  "{shown["words"]}"' if shown["words"] else ""
        say(one_line(f"{shown['added_at']}  {shown['number']}  {shown['source']}{words}"))
    if not entries:
        say("the do-not-call list is empty")
    elif len(entries) > most:
        say(f"more entries: --limit {2 * most}, or holdline dnc export")
    return 0


def add_entry(url: str, number: str, *, source: str, words: str, say: Say) -> int:
    """Put a number on the list; return the exit code, 0 even if it was listed before.

    Raises:
        CommandError: The database cannot be used.
    """
    now = utc_now().timestamp()
    new = _run_on_database(
        url, lambda contacts: contacts.add_do_not_call(number, source=source, now=now, words=words)
    )
    say(f"{mask_number(number)}: {'added' if new else 'was on the list before'}")
    return 0


def remove_entry(url: str, number: str, *, say: Say) -> int:
    """Take a number off the list; its contacts may be called again. Return the exit code.

    Raises:
        CommandError: The number is not on the list, or the database cannot be used.
    """
    if not _run_on_database(url, lambda contacts: contacts.remove_do_not_call(number)):
        raise CommandError(f"{mask_number(number)} is not on the do-not-call list")
    say(f"{mask_number(number)}: removed")
    return 0


def export_entries(url: str, file: Path, *, say: Say) -> int:
    """Write all entries, with their numbers and words, into a CSV file. Return the exit code.

    Raises:
        UsageError: The file cannot be written.
        CommandError: The database cannot be used.
    """
    entries = _run_on_database(url, lambda contacts: contacts.do_not_call_entries())
    try:
        with file.open("w", encoding="utf-8", newline="") as text:
            write_entries(text, entries, numbers=True, header=True)
    except OSError as error:
        raise UsageError(f"--out: {file} cannot be written: {error.strerror}") from error
    say(f"{file}: {len(entries)} numbers")
    return 0


def write_entries(
    text: TextIO, entries: Sequence[DoNotCallEntry], *, numbers: bool, header: bool
) -> None:
    """Write entries as lines of a CSV file; with `numbers`, `import_entries` can read it again."""
    rows = csv.writer(text)
    if header:
        rows.writerow(COLUMNS)
    rows.writerows(map(safe_cell, seen(entry, numbers=numbers).values()) for entry in entries)


def import_entries(url: str, file: Path, *, region: str | None, source: str, say: Say) -> int:
    """Add the numbers of a file; importing a file again changes nothing. Return the exit code.

    Args:
        url: The database's URL.
        file: CSV with columns for numbers, as `campaign import` reads it, or one number per line.
        region: The country of numbers without a country code.
        source: The source of entries for rows without one.
        say: Prints a line.

    Raises:
        UsageError: The file cannot be read or is too large.
        CommandError: It has no usable number, or the database fails.
    """
    refused, now = Counter[str](), utc_now().timestamp()

    async def add(contacts: Contacts) -> tuple[int, int]:
        """Store the valid numbers in batches; return how many were read, and how many were new."""
        rows = added = 0
        with _open_numbers(file, region) as opened:
            numbers = _valid_numbers(opened.rows, region, refused, say)
            while batch := [
                _entry_from_cells(*found, source, now) for found in islice(numbers, BATCH)
            ]:
                rows += len(batch)
                added += await contacts.add_do_not_call_entries(batch)
        return rows, added

    rows, added = _run_on_database(url, add)
    say(f"{added} added, {rows - added} known before, {refused.total()} refused")
    for reason, count in refused.most_common():
        say(f"  {reason}: {count}")
    if not rows:
        raise CommandError(f"{file} has no number that can be listed")
    return 0


def _entry_from_cells(
    number: str, cells: Mapping[str, str], source: str, now: float
) -> DoNotCallEntry:
    """Return the entry of a row; `source` and `now` stand for cells that it lacks."""
    # An export puts an apostrophe before cells that a spreadsheet would compute: remove it.
    fields = {fold(name): plain_cell(cell) for name, cell in cells.items()}
    return DoNotCallEntry(
        number,
        fields.get("source") or source,
        _moment_added(fields.get("added_at", ""), now),
        fields.get("words", ""),
    )


def _moment_added(text: str, now: float) -> float:
    """Return when an exported entry was added; `now` if that is missing, invalid or later."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now
    return min(now, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _valid_numbers(
    rows: Iterator[tuple[CsvRow, ContactCells | None]],
    region: str | None,
    refused: Counter[str],
    say: Say,
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each valid number with the row's other cells; count the others, print the first few."""
    for row, cells in rows:
        # A row without a number is refused once, as an empty text.
        for text in cells.numbers if cells and cells.numbers else ("",):
            readings = readings_of(text, region=region)
            if cells and len(readings) == 1:
                yield readings[0], cells.fields
                continue
            reason = row.trouble or (AMBIGUOUS if readings else "not_a_number")
            refused[reason] += 1
            if refused.total() <= MAX_SHOWN:
                line = f"line {row.line}: {text[:40]} {reason} {' or '.join(readings)}"
                say(one_line(line.rstrip()))


@contextmanager
def _open_numbers(file: Path, region: str | None) -> Iterator[OpenedContacts]:
    """Open a file of numbers; its errors become `UsageError` or `CommandError`."""
    try:
        if file.stat().st_size > MAX_LIST_BYTES:
            raise UsageError(f"{file} is larger than {MAX_LIST_BYTES // 1_000_000} MB; split it")
        with open_contacts(file, region=region or "", bare=True) as opened:
            yield opened
    except NotTextError as error:
        raise UsageError(f"{file} {error}") from error
    except ContactFileError as error:
        raise CommandError(f"{file} {error}") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def _run_on_database(url: str, work: Callable[[Contacts], Awaitable[T]]) -> T:
    """Run `work` on a database in a new event loop; raise `CommandError` if the database fails."""

    async def run() -> T:
        async with Database(url) as database:
            return await work(Contacts(database))

    try:
        return asyncio.run(run())
    except StorageError as error:
        raise CommandError(f"storage.url: {error}") from error
