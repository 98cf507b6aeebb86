"""Reads files of contacts: format, encoding, separator, rows, and the meaning of the columns.

`campaign import`, `dnc import` and `crm: {kind: own}` read through `open_contacts`. At most
`MAX_SAMPLE` rows are held in memory. If a line is too long, or has an unclosed quotation mark, only
that line is lost; the next line is read normally.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final, TextIO

from contacts.contact_columns import (
    DO_NOT_CALL,
    KNOWN,
    MAY_CALL,
    NAMES,
    ColumnsError,
    Meaning,
    fold,
    is_clear_no,
    is_clear_yes,
    is_number_heading,
    is_refusal,
    meanings_of,
    says_do_not_call,
)
from contacts.text_encoding import TextEncoding, guess_encoding
from fallbacks.data_files import read_data

PIECE_BYTES: Final = 65_536
OUR_NAMES: Final = ("name", "full_name", "contact", "contact_name")
MAX_SAMPLE: Final = 50  # rows below the header that help to recognise the columns (chosen)
_DATA: Final = read_data(__name__, "contact_files.yaml")
FORMATS, ZIPPED = (
    [(signature.encode("latin-1"), form, cure) for signature, form, cure in _DATA[key]]
    for key in ("begins", "zipped")
)


class ContactFileError(Exception):
    """The whole file is unusable; the message has the cure, but not the file's name."""


class NotTextError(ContactFileError):
    """The file is not CSV at all, such as a workbook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCells:
    """The cells of one row by their meaning.

    Attributes:
        numbers: All telephone numbers of the row; mobile numbers come first.
        name: The full name, or first and last name.
        more: The cells of the other `KNOWN` columns, by our name of the column.
        fields: The non-empty cells of all remaining columns, by heading.
        fits: Whether every non-empty cell has a heading.
        opt_out: The heading of the column that rules calls out, such as `Do not call`, or `Status`
            with that cell; or empty.
        opted_out: Whether that column says so clearly.
    """

    numbers: tuple[str, ...] = ()
    name: str = ""
    more: Mapping[str, str] = field(default_factory=dict[str, str])
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    fits: bool = True
    opt_out: str = ""
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """The headings of a file's columns, and what they mean."""

    headings: tuple[str, ...]
    meanings: tuple[Meaning, ...]

    @property
    def fillable(self) -> frozenset[str]:
        """The headings that can be placeholders, in addition to `name`."""
        pairs = zip(self.headings, self.meanings, strict=True)
        return frozenset(heading for heading, meaning in pairs if _is_field(heading, meaning))

    @property
    def has_name(self) -> bool:
        """Whether any column holds a name: full, first or last."""
        return any(meaning.name in NAMES for meaning in self.meanings)

    def read(self, cells: Sequence[str]) -> ContactCells:
        """Return the cells of a row by their meaning.

        Of several columns with one meaning, the first non-empty cell counts; all numbers are kept.
        """
        numbers, known, fields = list[tuple[bool, str]](), dict[str, str](), dict[str, str]()
        opt_outs = list[tuple[str, bool]]()
        for heading, meaning, cell in zip(self.headings, self.meanings, cells, strict=False):
            if not cell:
                continue
            if meaning.name == "number":
                numbers.append((not meaning.is_mobile, cell))
            elif meaning.name:
                known.setdefault(meaning.name, cell)
            if meaning.name in (DO_NOT_CALL, MAY_CALL) and is_refusal(meaning.name, cell):
                is_clear = is_clear_no if meaning.name == MAY_CALL else is_clear_yes
                opt_outs.append((heading, is_clear(cell)))
            elif not meaning.name and says_do_not_call(cell):
                opt_outs.append((heading, True))
            if _is_field(heading, meaning):
                fields[heading] = cell
        return ContactCells(
            numbers=tuple(cell for _, cell in sorted(numbers, key=lambda number: number[0])),
            name=_full_name(known),
            more={name: cell for name, cell in known.items() if name not in NAMES},
            fields=fields,
            fits=not any(cells[len(self.headings) :]),
            opt_out=opt_outs[0][0] if opt_outs else "",
            opted_out=any(clear for _, clear in opt_outs),
        )


def _is_field(heading: str, meaning: Meaning) -> bool:
    """Return whether a column is a field of the contact, whatever else it is."""
    if meaning.name == "name":  # `Kunde` may be a placeholder, too; `name` is one in any case
        return fold(heading) not in OUR_NAMES
    return bool(heading) and meaning.name in ("", *NAMES[1:], DO_NOT_CALL, MAY_CALL)


def _full_name(known: Mapping[str, str]) -> str:
    """Return the full name; in a German file, `Name` next to `Vorname` is the last name."""
    name, first, last = (known.get(part, "") for part in NAMES)
    if name and (last or not first or first.casefold() in name.casefold()):
        return name
    return " ".join(filter(None, (first, last or name)))


def read_header(
    cells: Sequence[str], rows: Sequence[Sequence[str]] = (), *, region: str = ""
) -> Columns:
    """Recognise the columns of a header row, and of the first rows below it.

    Raises:
        ContactFileError: The column of the number cannot be told, or a known one appears twice.
    """
    headings = tuple(cell.strip("\ufeff ") for cell in cells)
    try:
        meanings = meanings_of(headings, rows, region=region)
    except ColumnsError as error:
        raise ContactFileError(str(error)) from error
    once = [meaning.name for meaning in meanings if meaning.name in KNOWN]
    twice = sorted(name for name in set(once) - {"number", "name"} if once.count(name) > 1)
    if twice:
        raise ContactFileError(f"names the column {twice[0]} twice; rename one of them")
    return Columns(headings, meanings)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedContacts:
    """An open contact file.

    Attributes:
        rows: Each non-empty row with its cells; with `None` for a row that cannot be read.
    """

    encoding: TextEncoding
    columns: Columns
    rows: "Iterator[tuple[CsvRow, ContactCells | None]]"


@contextmanager
def open_contacts(
    file: Path,
    *,
    region: str = "",
    encoding: str = "",
    columns: Sequence[str] = (),
    bare: bool = False,
) -> Iterator[OpenedContacts]:
    """Open a CSV file of contacts during the block; yield its columns and rows. Reading blocks.

    The rows are read from the file as they are iterated over: once, and only within the block.

    Args:
        file: The file.
        region: The country of the file's owner, ISO 3166-1; helps to guess the encoding.
        encoding: The encoding; empty to guess it.
        columns: The headings, for a file without a header row.
        bare: If no heading of the first row is for numbers, read it as data, with the number first.

    Raises:
        ContactFileError: The file is not CSV, or has no column for the number.
        OSError: The file cannot be read.
        LookupError: Python has no encoding of this name.
    """
    _check_format(file)
    found = TextEncoding(name=encoding) if encoding else _guess_file_encoding(file, region)
    with file.open(encoding=found.name, errors="replace") as text:
        rows = read_rows(text)
        pending, header = _read_first_rows(rows, tuple(columns), bare=bare)
        sample = list(islice(rows, MAX_SAMPLE))
        read = read_header(header, [row.cells for row in sample], region=region)
        every = _with_cells(chain(pending, sample, rows), read)
        yield OpenedContacts(encoding=found, columns=read, rows=every)


def _read_first_rows(
    rows: "Iterator[CsvRow]", columns: tuple[str, ...], *, bare: bool
) -> "tuple[list[CsvRow], tuple[str, ...]]":
    """Return the rows before the data that are not the header, and the header.

    If `columns` are given, they are the header, and no row is read.

    Raises:
        ContactFileError: There is no header.
    """
    pending, header = list[CsvRow](), columns
    while not header and (row := next(rows, None)) is not None:
        if row.trouble:
            pending.append(row)  # it is reported, and the next row is the header
        header = row.cells if any(row.cells) else ()
        if bare and header and not any(map(is_number_heading, header)):
            pending, header = [*pending, row], ("number",)  # the row itself is data
    if not header:
        raise ContactFileError("has no row with a contact in it")
    return pending, header


def why_unusable(file: Path, *, region: str = "") -> str | None:
    """Return why a contact file is unusable, without its name; `None` if it is usable. Blocks.

    Single rows that cannot be read do not make it unusable.
    """
    try:
        with open_contacts(file, region=region):
            return None
    except ContactFileError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _with_cells(
    rows: "Iterator[CsvRow]", columns: Columns
) -> "Iterator[tuple[CsvRow, ContactCells | None]]":
    """Yield each row with its cells by meaning, `None` if unreadable; leave out empty rows."""
    for row in rows:
        if row.trouble:
            yield row, None
        elif any(row.cells):
            yield row, columns.read(row.cells)


def _check_format(file: Path) -> None:
    """Raise `NotTextError` if the file begins like another format, such as a workbook; blocks."""
    with file.open("rb") as data:
        head = data.read(PIECE_BYTES)
        data.seek(max(0, file.stat().st_size - PIECE_BYTES))
        head_and_tail = head + data.read(PIECE_BYTES)  # an archive lists its files at its end
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:16].lower()
    formats = FORMATS
    if head.startswith(b"PK\x03\x04"):
        # An empty signature matches: the first format whose content was found counts.
        formats = [(b"", *rest) for inside, *rest in ZIPPED if inside in head_and_tail]
    for signature, form, cure in formats:
        if begin.startswith(signature.lower()):
            raise NotTextError(f"is {form}, not a text file; {cure}, and give that file")


def _guess_file_encoding(file: Path, region: str) -> TextEncoding:
    with file.open("rb") as data:
        return guess_encoding(iter(lambda: data.read(PIECE_BYTES), b""), region=region)


MAX_LINE: Final = 65_536  # characters; an ordinary row has about a hundred
MAX_LINES: Final = 50  # in one row: quoted cells may contain line feeds
SEPARATORS: Final = ",;\t|"
EXCEL_LINE: Final = re.compile(r"^\s*\"?sep=(.)\"?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """A row and the number of its first line, from 1; `trouble` is an error code, or empty."""

    line: int
    cells: tuple[str, ...] = ()
    trouble: str = ""


def read_rows(text: TextIO) -> Iterator[CsvRow]:
    """Yield the rows that are not empty, including the header, and unreadable ones.

    A first line `sep=;`, as Excel writes it, is no row: it sets the separator. Otherwise the first
    row decides on that.
    """
    lines = _Lines(text)
    separator = ""
    while (number_and_line := lines.take()) is not None:
        number, line = number_and_line
        if not separator and (found := EXCEL_LINE.match(line or "")):
            separator = found.group(1)
            continue
        if line is not None and not line.strip():
            continue
        separator = separator or _most_frequent_separator(line or "")
        yield _read_row(lines, number, line, separator)


class _Lines:
    """Numbered lines of a text, with push-back for lines read ahead."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._number = 0
        self._pushed_back: deque[tuple[int, str | None]] = deque()

    def take(self) -> tuple[int, str | None] | None:
        """Return the next line's number and text (`None` if too long); `None` at the end."""
        if self._pushed_back:
            return self._pushed_back.popleft()
        line = self._text.readline(MAX_LINE + 1)
        if not line:
            return None
        self._number += 1
        if len(line) <= MAX_LINE or line.endswith("\n"):
            return self._number, line
        while line and not line.endswith("\n"):
            line = self._text.readline(MAX_LINE)
        return self._number, None

    def give_back(self, lines: list[tuple[int, str | None]]) -> None:
        """Push lines back; `take` returns them first, in the same order."""
        self._pushed_back.extendleft(reversed(lines))


def _read_row(lines: _Lines, number: int, line: str | None, separator: str) -> CsvRow:
    """Return the row that begins with `line`, and reads further lines if a quoted cell needs them.

    A `line` that is `None` was too long; such a row has only an error code in `trouble`.
    """
    if line is None:
        return CsvRow(line=number, trouble="line_too_long")
    row = _complete_row(lines, line, separator)
    if row is None:
        return CsvRow(line=number, trouble="quote_not_closed")
    cells = _cells_of(row, separator)
    if isinstance(cells, str):
        return CsvRow(line=number, trouble=cells)
    return CsvRow(line=number, cells=cells)


def _cells_of(row: str, separator: str) -> tuple[str, ...] | str:
    """Return the cells of a row, or the error code if it cannot be read."""
    if "\x00" in row:
        return "zero_byte"
    if "\ufffd" in row:  # the decoder's replacement for invalid bytes
        return "wrong_encoding"
    try:
        (cells,) = csv.reader([row], delimiter=separator)
    except (ValueError, csv.Error):
        return "not_csv"
    return tuple(cell.strip() for cell in cells)


def _complete_row(lines: _Lines, line: str, separator: str) -> str | None:
    """Return the whole row that begins with `line`; `None` if a quoted cell is not closed.

    At most `MAX_LINES` more lines are read; if none of them closes the cell, they are given back.
    """
    if '"' not in line:
        return line
    ahead: list[tuple[int, str | None]] = []
    row = line
    while _is_open(row, separator):
        following = lines.take()
        if following is not None:
            ahead.append(following)
        text = following[1] if following else None
        if text is None or len(ahead) >= MAX_LINES or len(row) + len(text) > MAX_LINE:
            lines.give_back(ahead)
            return None
        row += text
    return row


def _is_open(row: str, separator: str) -> bool:
    """Return whether a row ends inside a quoted cell.

    A quotation mark opens a cell only at the cell's start: `5" pipe` is text.
    """
    return any(cell is None for cell in _split_cells(row, separator))


def _split_cells(row: str, separator: str) -> Iterator[str | None]:
    """Yield the cells of a row with their quotation marks; `None` for one that is not closed."""
    at = 0
    while at < len(row):
        if row[at] != '"':
            end = row.find(separator, at)
            yield row[at : end if end >= 0 else None]
            at = end + 1 if end >= 0 else len(row)
            continue
        end = row.find('"', at + 1)
        while end >= 0 and row[end + 1 : end + 2] == '"':  # doubled: a literal quotation mark
            end = row.find('"', end + 2)
        if end < 0:
            yield None
            return
        next_separator = row.find(separator, end + 1)
        yield row[at : end + 1]
        at = next_separator + 1 if next_separator >= 0 else len(row)


def _most_frequent_separator(line: str) -> str:
    """Return the separator that is most frequent in a header."""
    outside = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=outside.count)  # a comma if there is none
