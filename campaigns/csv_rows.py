"""The rows of a file of contacts, one after the other, however strange the file is.

No more than one row is held, and a row has an end: a line that is too long, or a quotation mark
that nobody closes, costs that line and no other.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

LONGEST_LINE: Final = 65_536  # characters; an ordinary row has a hundred
MOST_LINES: Final = 50  # of one row, whose cells may hold line ends in quotes
SEPARATORS: Final = ",;\t|"
EXCEL_LINE: Final = re.compile(r"^\s*\"?sep=(.)\"?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """A row and the line on which it begins, from 1; `trouble` is a code: it could not be read."""

    line: int
    cells: tuple[str, ...] = ()
    trouble: str = ""


def read_rows(text: TextIO) -> Iterator[CsvRow]:
    """Return the rows that are not empty, the header among them."""
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
    """Lines with their numbers; those that were looked at too far ahead are given again."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._number = 0
        self._again: deque[tuple[int, str | None]] = deque()

    def take(self) -> tuple[int, str | None] | None:
        """Return the next line, whose text is None if it was too long; None: there is none."""
        if self._again:
            return self._again.popleft()
        line = self._text.readline(LONGEST_LINE + 1)
        if not line:
            return None
        self._number += 1
        if len(line) <= LONGEST_LINE or line.endswith("\n"):
            return self._number, line
        while line and not line.endswith("\n"):
            line = self._text.readline(LONGEST_LINE)
        return self._number, None

    def give_back(self, lines: list[tuple[int, str | None]]) -> None:
        """Have lines taken once more, in their order."""
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
    """Return the cells of a row, or the code of why there are none."""
    if "\x00" in row:
        return "zero_byte"
    if "\ufffd" in row:  # what the decoder puts for bytes that are no letters
        return "wrong_encoding"
    try:
        (cells,) = csv.reader([row], delimiter=separator)
    except (ValueError, csv.Error):
        return "not_csv"
    return tuple(cell.strip() for cell in cells)


def _whole(lines: _Lines, line: str, separator: str) -> str | None:
    """Return a row with all its lines; None: a quotation mark has no partner."""
    if '"' not in line:
        return line
    ahead: list[tuple[int, str | None]] = []
    whole = line
    while _is_open(whole, separator):
        following = lines.take()
        if following is not None:
            ahead.append(following)
        text = following[1] if following else None
        if text is None or len(ahead) >= MOST_LINES or len(whole) + len(text) > LONGEST_LINE:
            lines.give_back(ahead)
            return None
        whole += text
    return whole


def _is_open(row: str, separator: str) -> bool:
    """Return whether a row ends within a cell in quotes.

    A quotation mark opens a cell only at its begin: `5" pipe` is text.
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
        while end >= 0 and row[end + 1 : end + 2] == '"':  # two of them are one in the text
            end = row.find('"', end + 2)
        if end < 0:
            yield None
            return
        after = row.find(separator, end + 1)
        yield row[at : end + 1]
        at = after + 1 if after >= 0 else len(row)


def _separator(line: str) -> str:
    """Return what stands between the cells of a header."""
    outside = re.sub(r'"[^"]*"', "", line)
    return max(SEPARATORS, key=outside.count)  # the first of them if there is none
