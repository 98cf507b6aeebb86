"""Reads files of contacts: format, encoding, separator, rows, and the meaning of the columns.

`campaign import`, `dnc import` and `crm: {kind: own}` read through `open_contacts`. At most one
row is held in memory. If a line is too long, or has an unclosed quotation mark, only that line is
lost; the next line is read normally.
"""

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from operations.text_encoding import TextEncoding, guess_encoding

PIECE_BYTES: Final = 65_536
KNOWN: Final[Mapping[str, str]] = {  # our name of a column, and its synonyms
    "number": "phone telephone tel mobile cell msisdn",
    "name": "full_name contact contact_name nom_complet nombre_completo фио 氏名 姓名 이름",
    "zone": "timezone time_zone tz zeitzone",
    "priority": "",
    "consent_kind": "consent consent_type",
    "consent_date": "consent_given_on consented_on",
    "consent_source": "",
}
OUR_NAMES: Final = {item: ours for ours, more in KNOWN.items() for item in (ours, *more.split())}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FIRST_NAMES: Final = _words(
    "first_name firstname given_name forename vorname prénom prenom nombre nome imię имя"
)
LAST_NAMES: Final = _words(
    "last_name lastname surname family_name nachname familienname nom apellido apellidos cognome "
    "sobrenome nazwisko фамилия"
)
# A column holds telephone numbers if its heading has one of these words, and all its other words
# are in MORE_WORDS: `Mobile Phone 2` does, `Phone type` does not.
NUMBER_WORDS: Final = _words(
    "phone telephone tel mobile cell cellphone cellular msisdn telefon telefonnummer rufnummer "
    "handy handynummer mobil mobilnummer mobiltelefon téléphone portable teléfono telefono móvil "
    "movil celular cellulare telefone telemóvel telefoon telefonu телефон телефона мобильный 電話 "
    "電話番号 携帯 携帯電話 电话 电话号码 手机 手机号 전화 전화번호 휴대폰"
)
MORE_WORDS: Final = _words(
    "number no nr num nummer número numéro numer номер value primary main work home business "
    "office private personal other contact customer 1 2 3 4 5"
)
LOGIN_CURE: Final = "download the contacts as CSV; a link to a sheet may ask for a login"
FORMATS: Final = (  # how a file begins, its format, and the cure
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save it as CSV UTF-8 in Excel"),
    (b"%PDF", "a PDF", "export the contacts as CSV"),
    (b"\x1f\x8b", "a compressed file", "unpack it"),
    (b"7z\xbc\xaf", "a compressed file", "unpack it"),
    (b"Rar!", "a compressed file", "unpack it"),
    (b"{\\rtf", "a text document", "export the contacts as CSV"),
    (b"<!doctype", "a web page", LOGIN_CURE),
    (b"<html", "a web page", LOGIN_CURE),
    (b"<?xml", "XML", "export the contacts as CSV"),
    (b"begin:vcard", "a vCard file", "export the contacts as CSV"),
)
ZIPPED: Final = (  # what a ZIP archive contains, its format, and the cure; the first match counts
    (b"xl/", "an Excel workbook", "save it as CSV UTF-8 in Excel"),
    (b"opendocument.spreadsheet", "an OpenDocument spreadsheet", "save it as CSV (UTF-8)"),
    (b"Index/", "a Numbers spreadsheet", "export it to CSV"),
    (b"", "a ZIP archive", "unpack it"),
)


class ContactFileError(Exception):
    """The whole file is unusable; the message has the cure, but not the file's name."""


class NotTextError(ContactFileError):
    """The file is not CSV at all, such as a workbook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCells:
    """The cells of one row by their meaning.

    Attributes:
        numbers: All telephone numbers of the row, in the order of the columns.
        name: The full name, or first and last name.
        more: The cells of the other `KNOWN` columns, by our name of the column.
        fields: The non-empty cells of all remaining columns, by heading.
        fits: Whether every non-empty cell has a heading.
    """

    numbers: tuple[str, ...] = ()
    name: str = ""
    more: Mapping[str, str] = field(default_factory=dict[str, str])
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Columns:
    """The headings of a file's columns, and our names for them; empty for an unknown column."""

    headings: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def fillable(self) -> frozenset[str]:
        """The headings that can be placeholders, in addition to `name`."""
        pairs = zip(self.headings, self.ours, strict=True)
        return frozenset(heading for heading, ours in pairs if heading and not ours)

    @property
    def has_name(self) -> bool:
        """Whether any column holds a name: full, first or last."""
        return "name" in self.ours or any(
            plain(heading) in FIRST_NAMES | LAST_NAMES for heading in self.headings
        )

    def read(self, cells: Sequence[str]) -> ContactCells:
        """Return the cells of a row by their meaning."""
        numbers, more, fields = list[str](), dict[str, str](), dict[str, str]()
        for heading, ours, cell in zip(self.headings, self.ours, cells, strict=False):
            if ours == "number":
                numbers += [cell] if cell else []
            elif ours:
                more[ours] = more.get(ours) or cell
            elif heading and cell:
                fields[heading] = cell
        name = more.pop("name", "") or _joined_name(fields)
        fits = not any(cells[len(self.headings) :])
        return ContactCells(numbers=tuple(numbers), name=name, more=more, fields=fields, fits=fits)


def _joined_name(fields: Mapping[str, str]) -> str:
    parts = (
        next((cell for heading, cell in fields.items() if plain(heading) in headings), "")
        for headings in (FIRST_NAMES, LAST_NAMES)
    )
    return " ".join(filter(None, parts))


def plain(heading: str) -> str:
    """Normalise a heading for comparison: `Phone 1 - Value` becomes `phone_1_value`."""
    letters = unicodedata.normalize("NFKC", heading).casefold()
    return re.sub(r"[\W_]+", "_", letters).strip("_")


def read_header(cells: Sequence[str]) -> Columns:
    """Recognise the columns of a header row.

    Raises:
        ContactFileError: No column has the number, or a known column appears twice.
    """
    headings = tuple(cell.strip("\ufeff ") for cell in cells)
    ours = tuple(_known_name(plain(heading)) for heading in headings)
    twice = {name for name in ours if name not in ("", "number", "name") and ours.count(name) > 1}
    if twice:
        raise ContactFileError(f"names the column {sorted(twice)[0]} twice; rename one of them")
    if "number" not in ours:
        raise ContactFileError(
            "has no column for the number in its first line; begin it with a line such as "
            "number,name,consent_kind,consent_date,consent_source, or name them with --columns"
        )
    return Columns(headings, ours)


def _known_name(heading: str) -> str:
    words = set(heading.split("_"))
    if words & NUMBER_WORDS and words <= NUMBER_WORDS | MORE_WORDS:
        return "number"
    return OUR_NAMES.get(heading, "")


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
    found = TextEncoding(name=encoding) if encoding else _guess(file, region)
    with file.open(encoding=found.name, errors="replace") as text:
        rows = read_rows(text)
        pending, header = list[CsvRow](), tuple(columns)
        while not header and (row := next(rows, None)) is not None:
            if row.trouble:
                pending.append(row)  # it is reported, and the next row is the header
            header = row.cells
            if bare and header and "number" not in map(_known_name, map(plain, header)):
                pending, header = [*pending, row], ("number",)  # the row itself is data
        if not header:
            raise ContactFileError("has no row with a contact in it")
        read = read_header(header)
        yield OpenedContacts(
            encoding=found, columns=read, rows=_with_cells(chain(pending, rows), read)
        )


def why_unusable(file: Path, *, region: str = "") -> str | None:
    """Return why a contact file is unusable, without its name; `None` if it is usable. Blocks."""
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
    for row in rows:
        if row.trouble:
            yield row, None
        elif any(row.cells):
            yield row, columns.read(row.cells)


def _check_format(file: Path) -> None:
    """Raise `NotTextError` if the file begins like another format; blocks."""
    with file.open("rb") as data:
        head = data.read(PIECE_BYTES)
        data.seek(max(0, file.stat().st_size - PIECE_BYTES))
        head_and_tail = head + data.read(PIECE_BYTES)  # an archive lists its files at its end
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:16].lower()
    formats = FORMATS
    if head.startswith(b"PK\x03\x04"):
        # An empty signature matches: the first format whose content was found counts.
        formats = tuple((b"", *rest) for inside, *rest in ZIPPED if inside in head_and_tail)
    for signature, form, cure in formats:
        if begin.startswith(signature.lower()):
            raise NotTextError(f"is {form}, not a text file; {cure}, and give that file")


def _guess(file: Path, region: str) -> TextEncoding:
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
    """Yield the rows that are not empty, including the header."""
    lines = _Lines(text)
    separator = ""
    while (number_and_line := lines.take()) is not None:
        number, line = number_and_line
        if not separator and (found := EXCEL_LINE.match(line or "")):
            separator = found.group(1)
            continue
        if line is not None and not line.strip():
            continue
        separator = separator or _separator(line or "")
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
    """Return the whole row that begins with `line`; `None` if a quoted cell is never closed."""
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


def _separator(line: str) -> str:
    """Return the separator that is most frequent in a header."""
    outside = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=outside.count)  # a comma if there is none
