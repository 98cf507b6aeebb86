"""Recognises the columns of contact files by their headings, and by their values.

Rules: headings are compared without case, accents and punctuation; compounds such as
`Telefonnummer` or `MOBILEPHONE` are split into known words. A heading with a word for a telephone
is a column of numbers if its other words are known; otherwise its values decide. If no heading is
one, the only column whose values are valid telephone numbers is. Mobile numbers come first. The
words are in `contact_columns.yaml`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from calls.caller import MIN_DIGITS
from contacts.numbers import CallableNumber, read_number, readings_of
from fallbacks.data_files import read_data

_DATA: Final[Mapping[str, Any]] = read_data(__name__, "contact_columns.yaml")
DO_NOT_CALL: Final = "do_not_call"
MAY_CALL: Final = "may_call"
NAMES: Final = ("name", "first_name", "last_name")
KNOWN: Final = tuple(name for name in _DATA["columns"] if name not in NAMES[1:])
MAX_SHOWN: Final = 8  # headings in a message
MAX_SHOWN_LENGTH: Final = 40
MAX_SAYING: Final = 24  # characters of a cell that may say not to call; longer ones are notes
MAX_TAGS: Final = 500  # characters of a cell that may be a list of tags (chosen)
TAGS: Final = re.compile(r"[,;|]|:::")  # between tags; Google writes ":::"
NOTE: Final = re.compile(r"\s*\(([^)]*)\)")  # at the beginning of a heading
STEM_LETTERS: Final = 5  # a shorter word at the edge of a longer one is a coincidence
LIKELY_SHARE: Final = 0.5  # of the values, for a heading with a word for a telephone
CERTAIN_SHARE: Final = 0.8  # of the values, for any other heading (both chosen)
PLAIN_DIGITS: Final = 10  # shorter digits without plus, zero or separator may be any code
MIN_MARKS: Final = 2  # rows with one mark, such as `blocked`, in at most half of the rows (chosen)
DATE: Final = re.compile(r"\d{1,4}([-./ ])\d{1,2}\1\d{1,4}(\D.*)?")
FLAG: Final = re.compile(r"\A([01])[.,]0+\Z")  # as some programs write a yes or no
EMOJI: Final = "\ufe0f"  # after a sign that is to be shown in colours
CAPITAL: Final = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
LETTERS: Final = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "\u0131": "i", "æ": "ae"})


def fold(text: str) -> str:
    """Return a text in small letters without accents; each run of other characters becomes `_`.

    `Phone 1 - Value` and `phone_1_value` are equal, and so are `Téléphone` and `TELEPHONE`.
    """
    letters = unicodedata.normalize("NFKD", text.casefold()).casefold().translate(LETTERS)
    kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub(r"[\W_]+", "_", kept).strip("_")


def _folded_words(key: str) -> frozenset[str]:
    return frozenset(map(fold, _DATA[key].split()))


def _fold_without_underscores(text: str) -> str:
    return fold(text).replace("_", "")


WHOLE: Final = {
    _fold_without_underscores(item): name
    for name, items in _DATA["columns"].items()
    for item in items.split()
}
OPT_OUTS, SAYS_DO_NOT_CALL = (
    frozenset(map(_fold_without_underscores, _DATA[key].split()))
    for key in (DO_NOT_CALL, "says_do_not_call")
)
MOBILE, LANDLINE = _folded_words("mobile"), _folded_words("landline")
TELEPHONE: Final = MOBILE | LANDLINE | _folded_words("phone")
NUMBER, MORE, NOT_NUMBER, OWNERS = map(_folded_words, ("number", "more", "not_number", "owners"))
DO_NOT, CALL, CONTACT, MAY = map(_folded_words, ("do_not", "call", "contact", "may"))
SAYS_NOT, AROUND_CALL, CALLS_MADE = map(_folded_words, ("says_not", "around_call", "calls_made"))
CHANGE: Final = _folded_words("change")
JOINTS: Final = frozenset(["de", "del", "der", "des", "di", "do", "du", "of", "the", "van", "von"])
ONLY_OTHER, ABOUT_PERMISSION = map(_folded_words, ("only_other", "about_permission"))
VOCABULARY: Final = TELEPHONE | NUMBER | MORE | NOT_NUMBER | OWNERS | DO_NOT | CALL | CONTACT | MAY
# Letters of languages without spaces: Chinese, Japanese, Thai; Korean (decomposed) has few.
UNSPACED: Final = re.compile(r"[\u0e01-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]")
ONLY_ALONE: Final = frozenset((fold("안"),))  # "not"; it is a syllable of many other words, too
KNOWN_UNSPACED: Final = re.compile(
    "|".join(sorted(filter(UNSPACED.search, VOCABULARY - ONLY_ALONE), key=len, reverse=True))
)
NUMBER_OR_NOT: Final = frozenset(("no",))
OPTS: Final = frozenset(("opt", "opted", "opts"))  # in or out
# Three words deny only here; elsewhere "verme" is Turkish "giving", "ala" is Spanish "wing", and
# "bez" abbreviates the German "Bezeichnung".
DENYING_PLACES: Final = {
    "bez": re.compile(r"\bbez ((telefon|kontakt)(u|ow)|polacz|dzwon)"),
    "verme": re.compile(r"\bverme\Z"),
    "ala": re.compile(r"\bala( \w+)? (salli|soita|ota|hairitse)\b"),
}
AROUND_OPT_OUT: Final = _folded_words("around_opt_out")
# Marks without a letter, such as a ticked box, are compared as they are.
CLEAR_NO, CLEAR_YES = (
    frozenset(_fold_without_underscores(item) or item for item in _DATA[key].split())
    for key in ("clear_no", "clear_yes")
)


class ColumnsError(Exception):
    """No column, or no single column, can be the number; the message has the cure."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a heading says.

    Attributes:
        name: Our name of the column; empty for a field of the owner's.
        is_certain: False if the values must confirm a column of numbers.
        is_mobile: Whether a column of numbers holds mobile numbers.
    """

    name: str = ""
    is_certain: bool = True
    is_mobile: bool = False


def meanings_of(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, region: str
) -> tuple[Meaning, ...]:
    """Return the meaning of each column.

    Args:
        headings: The header row.
        rows: The first rows below it; they decide where the headings leave doubt.
        region: The country of numbers without a country code.

    Raises:
        ColumnsError: The column of the number cannot be told.
    """
    meanings = [meaning_of(heading) for heading in headings]
    certain = any(meaning.name == "number" and meaning.is_certain for meaning in meanings)
    for index, meaning in enumerate(meanings):
        if meaning.name == "number" and not meaning.is_certain:
            values = _cells_of_column(rows, index)
            share = _share_of_true(readings_of(value, region=region or None) for value in values)
            if share < LIKELY_SHARE and (values or certain):
                meanings[index] = Meaning()
    if not any(meaning.name == "number" for meaning in meanings):
        meanings[_column_by_values(headings, meanings, rows, region)] = Meaning("number")
    return tuple(meanings)


@lru_cache(maxsize=4096)
def meaning_of(heading: str) -> Meaning:
    """Return what a heading says by its words alone; an unknown one is a field of the owner's.

    So is a column such as `(Do Not Modify) Contact`, whose values are another program's own.
    """
    words = _words_of_heading(heading)
    if (found := NOTE.match(heading)) and CHANGE & set(_words_of_heading(found[1])):
        rest = meaning_of(heading[found.end() :])
        return rest if rest.name == DO_NOT_CALL else Meaning()
    if permission := _permission_in_heading(words):
        return Meaning(permission)
    whole = WHOLE.get("".join(words)) or _owner_name(words)
    if whole:
        return Meaning(whole)
    rest = [word for word in words if not word.isdigit()]
    if NOT_NUMBER & set(rest) or not any(_is_telephone(word) for word in rest):
        return Meaning()
    known = TELEPHONE | NUMBER | MORE | OWNERS
    return Meaning("number", all(word in known for word in rest), bool(MOBILE & set(rest)))


def is_refusal(meaning: str, cell: str) -> bool:
    """Return whether a cell of a permission column rules calls out.

    Below `Do not call`, every value but a clear no does. Below `Calls allowed`, a no does, and so
    do words that are not a yes, such as `pending`. A date or a time is a yes.
    """
    value = _folded_flag(cell)
    words = _words_of_heading(cell)
    if meaning == DO_NOT_CALL:
        is_in = _opts_in(words) and len(words) <= 2 and "?" not in cell
        return value not in CLEAR_NO and value != "" and not is_in
    said = {word for word in words if len(word) > 1 or len(words) == 1} & CLEAR_YES
    is_yes = (
        value == ""
        or value in CLEAR_YES
        or ((said or _opts_in(words)) and not _denying_words(words))
    )
    return is_clear_no(cell) or not (is_yes or any(letter.isdigit() for letter in value))


def says_do_not_call(cell: str) -> bool:
    """Return whether a cell, or a tag in it, says not to call, as `DNC` below `Status` does."""
    if len(cell) <= MAX_TAGS and TAGS.search(cell):
        return any(says_do_not_call(tag) for tag in TAGS.split(cell))
    if len(cell) > MAX_SAYING:
        return False
    # A file has millions of cells; folding is slow, and changes no letter of ASCII but its case.
    folded = cell.lower() if cell.isascii() else fold(cell).replace("_", " ")
    if "".join(filter(str.isalnum, folded)) in SAYS_DO_NOT_CALL:
        return True
    denies = "'" in cell or not SAYS_NOT.isdisjoint(folded.split())
    return denies and _wishes_no_calls(cell)


@lru_cache(maxsize=1024)  # such cells are few, and repeated
def _wishes_no_calls(cell: str) -> bool:
    """Return whether all words of a cell belong to a wish such as `please never call`."""
    words = frozenset(_words_of_heading(cell))
    asks = words & CALL and (words & AROUND_CALL or words & CALL - CALLS_MADE)
    return bool(asks and words & SAYS_NOT) and words <= CALL | SAYS_NOT | AROUND_CALL


def is_yes_or_no(cell: str) -> bool:
    """Return whether a cell is a clear yes or no, in any language that we know."""
    value = _folded_flag(cell)
    return value in CLEAR_YES or value in CLEAR_NO


def is_clear_yes(cell: str) -> bool:
    """Return whether a cell is a clear yes, such as `1` or `ja`."""
    return _folded_flag(cell) in CLEAR_YES


def is_clear_no(cell: str) -> bool:
    """Return whether a cell below `Calls allowed` is a clear no, such as `0` or `nicht erlaubt`."""
    value = _folded_flag(cell)
    return value not in CLEAR_YES and (
        value in CLEAR_NO or bool(_denying_words(_words_of_heading(cell)))
    )


def _folded_flag(cell: str) -> str:
    """Return a cell as the words for yes and no are written; `0.0` is `0`, a mark stays."""
    return _fold_without_underscores(FLAG.sub(r"\1", cell.strip())) or cell.strip().removesuffix(
        EMOJI
    )


def _opts_in(words: Sequence[str]) -> bool:
    return re.search(r"\bopt(ed|s)? ?in\b", " ".join(words)) is not None


def _denying_words(words: Sequence[str]) -> frozenset[str]:
    """Return the words that deny; not those of "opted in"."""
    found = DO_NOT.intersection(words) - (OPTS if _opts_in(words) else frozenset[str]())
    elsewhere = {
        word for word in DENYING_PLACES if not DENYING_PLACES[word].search(" ".join(words))
    }
    return found - elsewhere


class YesNoColumns:
    """Finds columns that hold only a yes or no, or one mark, and whose headings are not known.

    In a language whose words we do not know, such a column may say who must not be called.

    Attributes:
        rows: How many rows were read.
    """

    def __init__(self, headings: Sequence[str], meanings: Sequence[Meaning]) -> None:
        self.rows = 0
        self._headings = headings
        # The rows with each mark that is no yes and no no, by column.
        self._marks: dict[int, Counter[str]] = {
            index: Counter()
            for index, heading in enumerate(headings)
            if heading
            and not meanings[index].name
            and not ONLY_OTHER & set(_words_of_heading(heading))
        }
        self._filled = set[int]()

    def add(self, cells: Sequence[str]) -> None:
        """Read a row's cells; a column with a second kind of mark is no longer followed."""
        self.rows += 1
        for index in [index for index in self._marks if index < len(cells) and cells[index]]:
            self._filled.add(index)
            marks, cell = self._marks[index], cells[index]
            if cell in marks or not is_yes_or_no(cell):
                marks[cell] += 1
                if len(marks) > 1:
                    del self._marks[index]

    @property
    def found(self) -> tuple[str, ...]:
        """The headings of such columns, without empty ones.

        A mark must be in at least `MIN_MARKS` cells, and in at most half of the rows.
        """
        marked = ((index, marks.total()) for index, marks in self._marks.items())
        return tuple(
            self._headings[index]
            for index, times in marked
            if index in self._filled and (not times or MIN_MARKS <= times <= self.rows / 2)
        )


def is_number_heading(heading: str) -> bool:
    """Return whether a heading, by its words alone, is one of a column of numbers."""
    return meaning_of(heading).name == "number"


def shown_headings(headings: Sequence[str], *, most: int = MAX_SHOWN) -> str:
    """Return the headings for a message; the first few if there are more than `most`.

    Those with `MIN_DIGITS` digits or more are left out.
    """
    # In a file without a header, the "headings" are a contact.
    shown = [
        heading[:MAX_SHOWN_LENGTH]
        for heading in headings
        if heading and sum(letter.isdigit() for letter in heading) < MIN_DIGITS
    ]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def _words_of_heading(heading: str) -> list[str]:
    """Return a heading's words; compounds of known words are split.

    So are words in camel case, but not `WhatsApp`, which is one word.
    """
    words = [
        word
        for written in heading.split()
        for word in fold(
            written if fold(written) in VOCABULARY else CAPITAL.sub(" ", written)
        ).split("_")
    ]
    return [part for word in words for part in _split_compound(word)]


def _split_compound(word: str) -> list[str]:
    """Split a compound into known words, the longest first; else return it whole."""
    if UNSPACED.search(word):
        return KNOWN_UNSPACED.sub(r" \g<0> ", word).split()
    if word in VOCABULARY or len(word) < STEM_LETTERS or not word.isalpha():
        return re.findall(r"\d+|[^\d]+", word) if word not in VOCABULARY else [word]
    for length in range(len(word) - 2, 2, -1):
        if word[:length] in VOCABULARY:
            rest = _split_compound(word[length:])
            if all(part in VOCABULARY for part in rest):
                return [word[:length], *rest]
    return [word]


def _is_telephone(word: str) -> bool:
    """Return whether a word is one for a telephone, or begins or ends with a long one."""
    if word in TELEPHONE:
        return True
    return any(
        len(stem) >= STEM_LETTERS and (word.startswith(stem) or word.endswith(stem))
        for stem in TELEPHONE
    )


def _owner_name(words: Sequence[str]) -> str:
    """Return the name column that a heading such as `Customer name` or `Person` is; or empty."""
    rest = "".join(word for word in words if word not in OWNERS | JOINTS)
    if not OWNERS & set(words):  # `Kundenname` is one word
        ends = (rest.removeprefix(owner) for owner in OWNERS)
        return next((WHOLE[end] for end in ends if end != rest and WHOLE.get(end) in NAMES), "")
    whole = WHOLE.get(rest, "") if rest else "name"
    return whole if whole in NAMES else ""  # a customer's number may be another code


def _permission_in_heading(words: list[str]) -> str:
    """Return whether a heading is about being called: `DO_NOT_CALL`, `MAY_CALL` or empty."""
    found = set(words)
    bare = "".join(word for word in words if word not in AROUND_OPT_OUT)
    if bare in OPT_OUTS or "".join(words) in OPT_OUTS:  # "liste" is part of "liste noire"
        return DO_NOT_CALL
    about_calls = found & CALL or (found & CONTACT and not found & ONLY_OTHER)
    about_calls = bool(about_calls) or any(map(_is_telephone, words))
    strong = _denying_words(words) - NUMBER_OR_NOT
    is_no = words[:1] == ["no"] and found & (CALL | CONTACT)  # "No telefon" is a number
    if about_calls and (strong or is_no):
        return DO_NOT_CALL
    # "by phone" is no person's name.
    by_phone = any(one == "by" and _is_telephone(next_) for one, next_ in pairwise(words))
    about = (found & ABOUT_PERMISSION) - ({"by"} if by_phone else set[str]())
    may = (found & MAY or _opts_in(words)) and not about
    return MAY_CALL if may and about_calls else ""


def _column_by_values(
    headings: Sequence[str],
    meanings: Sequence[Meaning],
    rows: Sequence[Sequence[str]],
    region: str,
) -> int:
    """Return the index of the only column whose values are telephone numbers.

    Raises:
        ColumnsError: There is none, or more than one.
    """
    found = [
        index
        for index, meaning in enumerate(meanings)
        if meaning.name in ("", "name")  # `Contact` may be either
        and not NOT_NUMBER & set(_words_of_heading(headings[index]))
        and not _is_number(headings[index], region)  # then the first row is a contact
        and _share_of_true(_is_number(value, region) for value in _cells_of_column(rows, index))
        >= CERTAIN_SHARE
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ColumnsError(
            f"has several columns that may be the number ({_show_columns(headings, found)}); "
            "rename the right one to `number`"
        )
    raise ColumnsError(
        "has no column for the number in its first line "
        f"({shown_headings(headings)}); rename the right one to `number`, begin the file with a "
        "line such as number,name,consent_kind,consent_date,consent_source, or name them with "
        "--columns"
    )


def _show_columns(headings: Sequence[str], found: Sequence[int]) -> str:
    return shown_headings([headings[index] or f"column {index + 1}" for index in found])


def _cells_of_column(rows: Sequence[Sequence[str]], index: int) -> list[str]:
    return [row[index] for row in rows if index < len(row) and row[index]]


def _share_of_true(results: Any) -> float:
    """Return the share of true results, 0 to 1; 0 without results."""
    judged = [bool(result) for result in results]
    return sum(judged) / len(judged) if judged else 0.0


def _is_number(value: str, region: str) -> bool:
    """Return whether a value is a telephone number and hardly another code, or a date."""
    if DATE.fullmatch(value.strip()):
        return False
    bare = value.strip("'\"=\u200e\u202a\u202c ")
    is_code = bare.isdigit() and bare[0] != "0" and len(bare) < PLAIN_DIGITS
    return not is_code and isinstance(read_number(value, region=region), CallableNumber)
