"""Reads contacts from a CSV file: encoding, separator, rows, columns and their checks.

At most one row is in memory. A line that is too long, or a quotation mark without a partner, costs
only its own line.
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import Final, TextIO

from calls.outbound import CallConsent
from operations.numbers import CallableNumber, read_number, zone_named

# Guesses the encoding of a file from its bytes.
#
# A byte order mark decides. A file that is valid UTF-8 to its end is UTF-8. Otherwise two
# single-byte encodings are told apart: cp1251 has whole words of bytes above 127; in Western
# encodings such a byte stands alone among ASCII.

MARKS: Final = (  # the longer first: UTF-32 begins as UTF-16 does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES: Final = 65_536
WIDE_SHARE: Final = 0.3  # zero bytes at every second place: nearly half in ASCII as UTF-16
IN_WORDS: Final = 0.6  # share of bytes above 127 that have such a neighbour
UNUSED_IN_CP1252: Final = frozenset(b"\x81\x8d\x8f\x90\x9d")


def guess_encoding(pieces: Iterable[bytes]) -> str:
    """Return Python's name of the encoding; `pieces` are the bytes of the whole file."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    sample = b""
    # An empty piece follows the last one, so that an unfinished character is an error.
    for piece in chain(filter(None, pieces), (b"",)):
        if len(sample) < SAMPLE_BYTES:
            sample += piece[: SAMPLE_BYTES - len(sample)]
            if told := _told(sample):
                return told
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            # The sample must contain the bytes that are not UTF-8, which may come late. They may be
            # in it twice; the line feed keeps the two parts from becoming neighbours.
            late = error.object[error.start : error.start + SAMPLE_BYTES]
            return _single_byte(sample[: SAMPLE_BYTES // 2] + b"\n" + late)
    return "utf-8"


def _told(sample: bytes) -> str | None:
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    if len(sample) >= 4:
        half = len(sample) / 2
        if sample[1::2].count(0) > WIDE_SHARE * half and not sample[::2].count(0):
            return "utf-16-le"
        if sample[::2].count(0) > WIDE_SHARE * half and not sample[1::2].count(0):
            return "utf-16-be"
    return None


def _single_byte(sample: bytes) -> str:
    high = [index for index, byte in enumerate(sample) if byte > 127]
    places = set(high)
    beside = sum(1 for index in high if index - 1 in places or index + 1 in places)
    if high and beside > IN_WORDS * len(high):
        return "cp1251"
    return "latin-1" if UNUSED_IN_CP1252 & set(sample) else "cp1252"


KNOWN: Final[Mapping[str, tuple[str, ...]]] = {  # our name and its synonyms
    "number": ("phone", "phone_number", "telephone", "mobile", "tel", "cell", "msisdn"),
    "name": ("full_name", "contact", "contact_name"),
    "zone": ("timezone", "time_zone", "tz"),
    "priority": (),
    "consent_kind": ("consent", "consent_type"),
    "consent_date": ("consent_given_on", "consented_on"),
    "consent_source": (),
}
NAMES: Final = {item: ours for ours, others in KNOWN.items() for item in (ours, *others)}
PRIORITIES: Final = 1000  # largest absolute value
MAX_FIELDS: Final = 8000  # characters, of all unknown columns together


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRow:
    """A row that can become a contact."""

    number: str
    zones: tuple[str, ...]
    name: str = ""
    priority: int = 0
    consent: CallConsent | None = None
    fields: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """Checks that a row must pass.

    Attributes:
        region: Country of numbers without a country code.
        consent_required: Whether a row without consent is refused.
        today: A later consent date is refused.
        prefixes: A number must begin with one of these; empty allows all numbers.
    """

    region: str
    consent_required: bool
    today: date
    prefixes: tuple[str, ...] = ()


class HeaderError(Exception):
    """The header does not identify the number's column; one line with the cure."""


def read_header(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each column, with synonyms replaced by our names.

    Raises:
        HeaderError: The number's column is missing, or a column appears twice.
    """
    plain = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
    names = tuple(NAMES.get(name, cell) for name, cell in zip(plain, cells, strict=True))
    twice = {name for name in names if name in KNOWN and names.count(name) > 1}
    if twice:
        raise HeaderError(f"names the column {sorted(twice)[0]} twice; rename one of them")
    if "number" not in names:
        raise HeaderError(
            "has no column for the number in its first line; let it begin with a line such as "
            "number,name,consent_kind,consent_date,consent_source, or name them with --columns"
        )
    return names


def read_contact_row(
    names: Sequence[str], cells: Sequence[str], rules: RowRules
) -> ContactRow | str:
    """Return the row as a contact, or the code of the reason why it is refused."""
    if any(cells[len(names) :]):
        return "too_many_cells"
    said = dict(zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=False))
    number = read_number(said["number"], region=rules.region)
    if isinstance(number, str):
        return number
    if rules.prefixes and not number.e164.startswith(rules.prefixes):
        return "prefix_not_allowed"
    consent = _consent(said, rules)
    if isinstance(consent, str):
        return consent
    return _contact(said, number, consent)


def _contact(
    said: Mapping[str, str], number: CallableNumber, consent: CallConsent | None
) -> ContactRow | str:
    zone, priority = said.get("zone", ""), said.get("priority", "") or "0"
    if zone and zone_named(zone) is None:
        return "unknown_zone"
    if not re.fullmatch(r"[+-]?\d{1,4}", priority) or abs(int(priority)) > PRIORITIES:
        return "wrong_priority"
    fields = {name: cell for name, cell in said.items() if name and name not in KNOWN and cell}
    if _length(fields.items()) > MAX_FIELDS:
        return "too_much_text"
    return ContactRow(
        number=number.e164,
        zones=(zone,) if zone else number.zones,
        name=said.get("name", ""),
        priority=int(priority),
        consent=consent,
        fields=fields,
    )


def _consent(said: Mapping[str, str], rules: RowRules) -> CallConsent | str | None:
    kind, given, source = (said.get(f"consent_{part}", "") for part in ("kind", "date", "source"))
    if not (kind and given and source):
        return "no_consent" if rules.consent_required else None
    try:
        day = datetime.fromisoformat(given).date()
    except ValueError:
        return "wrong_consent_date"
    if day > rules.today:
        return "consent_in_future"
    return CallConsent(kind=kind, given_on=day.isoformat(), source=source)


def _length(pairs: Iterable[tuple[str, str]]) -> int:
    return sum(len(name) + len(cell) for name, cell in pairs)


MAX_LINE: Final = 65_536  # characters; an ordinary row has a hundred
MAX_LINES: Final = 50  # in one row: quoted cells may contain line feeds
SEPARATORS: Final = ",;\t|"
EXCEL_LINE: Final = re.compile(r"^\s*\"?sep=(.)\"?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """A row and its first line, from 1; `trouble` is the code of why it could not be read."""

    line: int
    cells: tuple[str, ...] = ()
    trouble: str = ""


def read_rows(text: TextIO) -> Iterator[CsvRow]:
    """Yield the rows that are not empty, including the header."""
    lines = _Lines(text)
    separator = ""
    while (number_and_line := lines.take()) is not None:
        number, line = number_and_line
        if not separator and (said := EXCEL_LINE.match(line or "")):
            separator = said.group(1)
            continue
        if line is not None and not line.strip():
            continue
        separator = separator or _separator(line or "")
        yield _read(lines, number, line, separator)


class _Lines:
    """Numbered lines of a text, with push-back for lines read ahead."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._number = 0
        self._again: deque[tuple[int, str | None]] = deque()

    def take(self) -> tuple[int, str | None] | None:
        """Return the next number and line, `None` at the end; a too long line is `None`."""
        if self._again:
            return self._again.popleft()
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
        """Return lines to the front, in their order."""
        self._again.extendleft(reversed(lines))


def _read(lines: _Lines, number: int, line: str | None, separator: str) -> CsvRow:
    if line is None:
        return CsvRow(line=number, trouble="line_too_long")
    whole = _whole(lines, line, separator)
    if whole is None:
        return CsvRow(line=number, trouble="quote_not_closed")
    cells = _cells_of(whole, separator)
    if isinstance(cells, str):
        return CsvRow(line=number, trouble=cells)
    return CsvRow(line=number, cells=cells)


def _cells_of(row: str, separator: str) -> tuple[str, ...] | str:
    """Return the cells of a row, or the code of the reason why it cannot be read."""
    if "\x00" in row:
        return "zero_byte"
    if "\ufffd" in row:  # the decoder's replacement for invalid bytes
        return "wrong_encoding"
    try:
        (cells,) = csv.reader([row], delimiter=separator)
    except (ValueError, csv.Error):
        return "not_csv"
    return tuple(cell.strip() for cell in cells)


def _whole(lines: _Lines, line: str, separator: str) -> str | None:
    """Return a row with all its lines; `None` if a quotation mark has no partner."""
    if '"' not in line:
        return line
    ahead: list[tuple[int, str | None]] = []
    whole = line
    while _is_open(whole, separator):
        following = lines.take()
        if following is not None:
            ahead.append(following)
        text = following[1] if following else None
        if text is None or len(ahead) >= MAX_LINES or len(whole) + len(text) > MAX_LINE:
            lines.give_back(ahead)
            return None
        whole += text
    return whole


def _is_open(row: str, separator: str) -> bool:
    """Return whether a row ends inside a quoted cell.

    A quotation mark opens a cell only at the cell's start: `5" pipe` is text.
    """
    return any(cell is None for cell in _cells(row, separator))


def _cells(row: str, separator: str) -> Iterator[str | None]:
    at = 0
    while at < len(row):
        if row[at] != '"':
            end = row.find(separator, at)
            yield row[at : end if end >= 0 else None]
            at = end + 1 if end >= 0 else len(row)
            continue
        end = row.find('"', at + 1)
        while end >= 0 and row[end + 1 : end + 2] == '"':  # doubled: one in the text
            end = row.find('"', end + 2)
        if end < 0:
            yield None
            return
        after = row.find(separator, end + 1)
        yield row[at : end + 1]
        at = after + 1 if after >= 0 else len(row)


def _separator(line: str) -> str:
    """Return the separator that is most frequent in a header."""
    outside = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=outside.count)  # a comma if there is none
