"""The meaning of each symptom: tables for classification, in which the first matching row wins.

The tables and their sources are in `symptoms.yaml`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fallbacks.data_files import read_data
from fallbacks.failure import Finding, Kind, Scope, finding


class Moment(StrEnum):
    """What was in progress when a stream failed."""

    IDLE = "idle"  # no request was pending
    ASKED = "asked"  # a request was pending, without useful output yet
    FLOWING = "flowing"  # useful output had begun


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomRow:
    """One row of a table; an empty field matches everything."""

    found: Finding
    providers: frozenset[str] = frozenset()
    stage: str = ""
    codes: frozenset[int] = frozenset()  # HTTP statuses, or close codes
    words: frozenset[str] = frozenset()  # one of them is a code, type or status in the response
    # Part of the message, in lower case; of a close reason, only letters and digits are compared.
    says: str = ""
    moments: frozenset[Moment] = frozenset()


class Symptom(StrEnum):
    """A failure that we observe ourselves, without an error message of the provider."""

    NO_ANSWER = "no_answer"  # no connection or no headers in time
    FIRST_LATE = "first_late"  # no useful output in time
    GAP = "gap"  # useful output began, then none for too long
    END_UNFINISHED = "end_unfinished"  # the stream ended before the protocol's end of the answer
    NO_RESULTS = "no_results"  # no words for speech
    FINALIZE_UNANSWERED = "finalize_unanswered"  # no final text after a request for it
    NO_AUDIO = "no_audio"  # no audio for text
    SHORT_AUDIO = "short_audio"  # too short for the number of words
    ZERO_AUDIO = "zero_audio"  # every sample is 0
    NO_TEXT = "no_text"  # an answer without a word
    GARBAGE = "garbage"  # unparseable, or of the wrong type
    ODD_AUDIO = "odd_audio"  # half a sample


def symptom_row(row: Mapping[str, str]) -> SymptomRow:
    """Return a row of `symptoms.yaml`, in which lists are separated by blanks.

    Raises:
        ValueError, KeyError: A value is unknown, or `is` is missing.
    """
    flags = ("permanent", "unknown", "harmless", "goes_on")
    return SymptomRow(
        found=finding(
            Kind(row["is"]),
            Scope(row["scope"]) if "scope" in row else None,
            **{key: row[key] == "true" for key in flags if key in row},
        ),
        providers=frozenset(row.get("on", "").split()),
        stage=row.get("stage", ""),
        codes=frozenset(_numbers_in_list(row.get("codes", ""))),
        words=frozenset(row.get("words", "").split()),
        says=row.get("says", ""),
        moments=frozenset(map(Moment, row.get("moments", "").split())),
    )


def _numbers_in_list(listed: str) -> Iterator[int]:
    """Yield the numbers in a list such as "500 502-504"."""
    for item in listed.split():
        first, _, last = item.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _findings_by_name(names: Mapping[str, str]) -> dict[str, Finding]:
    """Return the finding of each name, from the lists of names by kind."""
    return {name: finding(Kind(kind)) for kind, listed in names.items() for name in listed.split()}


_TABLES: Final[Mapping[str, Any]] = read_data(__name__, "symptoms.yaml")
HTTP: Final = tuple(map(symptom_row, _TABLES["http"]))
MESSAGES: Final = tuple(map(symptom_row, _TABLES["messages"]))
CLOSES: Final = tuple(map(symptom_row, _TABLES["closes"]))
SYMPTOMS: Final[Mapping[str, Finding]] = _findings_by_name(_TABLES["symptoms"])
ERROR_NAMES: Final = _findings_by_name(_TABLES["errors"])
UNKNOWN: Final = finding(Kind.PROTOCOL, unknown=True)
"""The finding if no row matches: the failure is treated as transient, and reported as unknown."""
SHORT_AUDIO_S: Final = 0.04  # per word; less cannot be speech (chosen: docs/how-it-stays-up.md)
