"""Finds long numbers in the words of a call, as digits or as words, and masks them.

Rules: a recogniser may write a card number as digits or as words, so words for numbers become
digits first: "forty two", "double five", "vier zwei", "four thousand two hundred". Digits, words
and hesitations next to each other are one number. 13 to 19 digits in a row are masked whatever
their checksum, because one may be misheard, and so is a longer row; the last four digits stay, as
on a receipt, unless the row may end with the card's code. Only a list of round numbers, such as
prices, must begin and end like a card. A row of up to 15 digits that begins with a plus or a zero
is a telephone number. Dates and times are no part of a row. An account number (IBAN) is masked from
its country code on, whether its letters are said one by one or in groups. A card number that is
corrected ("four two no sorry four three") is masked if what was meant has a card's checksum.

The words for numbers are those of `calls.languages`. A text is read in each language if it has
several of that language's words for numbers. In scripts without capital letters, such as Chinese,
Japanese, Korean and Thai, words may follow each other without spaces, so a row of numbers may begin
and end inside of what looks like a word.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import groupby, pairwise
from typing import Final

from calls.languages.facts import languages
from operations.masking import IBAN_LENGTHS, SHOWN_DIGITS, passes_luhn, show_last

CARD_DIGITS: Final = range(13, 20)  # ISO/IEC 7812
CARD_STARTS: Final = frozenset("23456")  # of payment cards (ISO/IEC 7812-1)
PHONE_DIGITS: Final = 15  # at most (ITU-T E.164)
LEAST_WORDS: Final = 3  # words for numbers, for a text to be read in a language (chosen)
PIECE_DIGITS: Final = 3  # at least, in a piece of a telephone number (chosen)
ROUND_DIGITS: Final = 3  # at least, in a round number such as a price (chosen)
LEAST_DIGITS: Final = 10  # of the shortest account number without its letters, less one
MAX_LANGUAGES: Final = 3  # a text is read in those with most words in it (chosen)
MAX_PARTS: Final = 5  # of one word for a number, such as "quatre-vingt-dix-sept"
MAX_COMPOSED: Final = 16  # tokens of one number: "eight hundred and twenty-two thousand ..."
MAX_GAP: Final = 4  # characters between two parts of a number
MAX_HESITATIONS: Final = 4  # between two parts of a number (chosen)
HESITATIONS: Final = frozenset[str]().union(*(item.hesitations for item in languages().values()))
CORRECTIONS: Final = frozenset[str]().union(*(item.corrections for item in languages().values()))
AROUND_CORRECTIONS: Final = HESITATIONS.union(
    CORRECTIONS, *(item.correction_fillers for item in languages().values())
)
MAX_CORRECTED: Final = 2  # digits; else the second number is another one (chosen)
CORRECTED_LENGTHS: Final = {"3": 15}  # of a card number by its first digit; else 16
UNIT_JOINTS: Final = ("y", "e", "i", "și", "og", "och", "en", "und", "and", "et")
LONE: Final = ("100", "1000")  # words that are numbers only next to others
MOST: Final = 1_000_000  # numbers are below it
MARKS: Final = range(0x300, 0x12000)  # where all scripts of living languages have their signs


def _class_of_marks() -> str:
    """Return all signs that belong to the letter before them, such as Hindi's vowels, as ranges."""
    marks = (code for code in MARKS if unicodedata.category(chr(code))[0] == "M")
    rows = [[*row] for _, row in groupby(enumerate(marks), lambda item: item[1] - item[0])]
    return "".join(f"\\U{row[0][1]:08x}-\\U{row[-1][1]:08x}" for row in rows)


TOKEN: Final = re.compile(rf"\d+|[^\W\d_](?:[^\W\d_]|[{_class_of_marks()}])*")
BREAKS: Final = re.compile(  # dates and times
    r"(?<![\d.:/-])(?:\d{4}-\d\d-\d\d|\d{1,2}([./])\d{1,2}\1(?:\d{4}|\d\d)|\d{1,2}:\d\d(?::\d\d)?)"
    r"(?![\d:/-]|\.\d)"
)
BREAKING: Final = re.compile(
    r"[^\s,.;:/\u2010-\u2015()'\"\u3001\u3002\u30fb\uff0c\uff0e\u060c-]|\n\s*\n"
)
LEAST_RUN: Final = 3  # words for digits that are written together, to be read apart (chosen)
MAX_COMPOUND: Final = 200  # characters of numbers that are written together (chosen)
MAX_SPLITS: Final = 4096  # results of `_split` that are kept (chosen)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a text.

    Attributes:
        start: Its first character.
        end: The character after it.
        digits: The digits that it means; empty for any other word.
        word: The word, in small letters.
        is_fixed: Whether it belongs to a date or a time.
    """

    start: int
    end: int
    digits: str = ""
    word: str = ""
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """A language's words for numbers.

    Attributes:
        numbers: The numbers, by the parts of their words.
        repeats: How many equal digits a word announces.
        multipliers: Numbers that multiply the one before them: "four hundred", and "four ten" in a
            language without a word for twenty.
        ten_adds: Whether ten and a digit are one number, in a language without words for 11 to 19.
    """

    numbers: Mapping[tuple[str, ...], int]
    repeats: Mapping[str, int]
    multipliers: Sequence[int] = ()
    ten_adds: bool = False

    def room_after(self, part: int) -> int:
        """Return what the part after this one must stay below to be added: "forty" "two"."""
        if part == 10:
            return 10 if self.ten_adds else 1
        return next((place for place in (1000, 100, 10) if part >= place and not part % place), 1)


@cache
def _vocabulary(tag: str) -> _Vocabulary:
    """Return a language's words for numbers; none for the empty tag."""
    if not tag:
        return _Vocabulary({}, {})
    facts = languages()[tag]
    numbers = {tuple(TOKEN.findall(word)): value for word, value in facts.numbers.items()}
    known = set(numbers.values())
    multipliers = (100, 1000) if 20 in known else (10, 100, 1000)
    return _Vocabulary(numbers, facts.repeats, multipliers, ten_adds=11 not in known)


def _tags_by_word() -> dict[str, set[str]]:
    """Return the languages in which a word is, or begins, a word for a number."""
    found = defaultdict[str, set[str]](set)
    for tag in languages():
        for parts in _vocabulary(tag).numbers:
            found[parts[0]].add(tag)
    return dict(found)


TAGS_BY_WORD: Final = _tags_by_word()  # read at the start, not during a call


def _has_capitals(text: str) -> bool:
    """Return whether a text has letters of a script with capital letters."""
    return text.upper() != text.lower()


def _words_of(*, has_capitals: bool) -> dict[str, set[str]]:
    """Return the words for numbers that may be written together, with their languages."""
    found = defaultdict[str, set[str]](set)
    for facts in languages().values():
        for word in facts.numbers:
            if _has_capitals(word) is has_capitals and not set(word) & {" ", "-"}:
                found[word].add(facts.tag)
    return dict(found)


def _any_of(words: Iterable[str]) -> str:
    return "(?>" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + ")"


UNSPACED: Final = re.compile(_any_of(_words_of(has_capitals=False)))
UNSPACED_ROW: Final = re.compile(rf"\A{UNSPACED.pattern}++\Z|{UNSPACED.pattern}{{{LEAST_RUN},}}+")
CASED: Final = _words_of(has_capitals=True)
LONGEST: Final = max(map(len, CASED))


@lru_cache(MAX_SPLITS)
def _split(word: str, tag: str) -> tuple[str, ...] | None:
    """Split a compound such as "viertausendzwölf" into numbers; `None` if it has other parts."""
    if not word:
        return ()
    for length in range(min(len(word), LONGEST), 0, -1):
        if tag in CASED.get(word[:length], ()):
            rest = _split(word[length:], tag)
            if rest is not None:
                return word[:length], *rest
    return None


def _compound(word: str) -> Sequence[str]:
    """Return the numbers that are written together: "fourtwofour", "viertausendzweihundert"."""
    lengths = range(min(len(word), LONGEST), 0, -1)
    for tag in sorted(set[str]().union(*(CASED.get(word[:length], ()) for length in lengths))):
        parts = _split(word, tag) or ()
        values = [languages()[tag].numbers[part] for part in parts]
        is_run = len(parts) >= LEAST_RUN and max(values) < 10
        if is_run or (len(parts) > 1 and set(_vocabulary(tag).multipliers) & set(values)):
            return parts
    return ()


def masked_numbers(text: str) -> str:
    """Return a text with card and account numbers masked, except for their last four digits."""
    tokens = _split_into_tokens(text)
    if sum(map(_most_digits, tokens)) < LEAST_DIGITS:
        return text
    spans = dict[tuple[int, int], str]()
    for tag in _languages_to_try(tokens, least=LEAST_WORDS):
        parts = _read_numbers(tokens, tag)
        spans |= _masked_cards(text, parts) | _masked_accounts(text, parts)
        spans |= _masked_corrections(text, parts)
    return _with_replacements(text, spans)


def without_numbers_said(text: str) -> str:
    """Return a text with asterisks for each number of at least `PIECE_DIGITS` digits.

    For readers who may not see numbers: a telephone number may be said in pieces. One word before
    or after digits stays, because it may be none of a number: "Ich bin 8" is 1000 8 in Turkish.
    """
    tokens, spans = _split_into_tokens(text), dict[tuple[int, int], str]()
    for tag in _languages_to_try(tokens, least=1):
        for said in _rows_of_numbers(text, _read_numbers(tokens, tag)):
            row = _without_only_word(said)
            digits = sum(len(part.digits) for part in row)
            if digits >= PIECE_DIGITS:
                spans[row[0].start, row[-1].end] = "*" * digits
    return _with_replacements(text, spans)


def _without_only_word(row: Sequence[_Part]) -> Sequence[_Part]:
    """Return a row of digits without its only word if that is first or last.

    A number of several words stays, and so does one of at least `PIECE_DIGITS` digits, such as
    "quinientos", but not a plain "hundred" or "thousand".
    """
    words = [part for part in row if not part.word.isdecimal()]
    if len(row) == 1 or len(words) != 1 or not words[0].word:
        return row
    if len(words[0].digits) >= PIECE_DIGITS and words[0].digits not in LONE:
        return row
    if words[0] is row[0]:
        return row[1:]
    return row[:-1] if words[0] is row[-1] else row


def _with_replacements(text: str, spans: Mapping[tuple[int, int], str]) -> str:
    """Return a text with other texts at some places; of places that overlap, the first counts."""
    at, kept = 0, list[str]()
    for (start, end), shown in sorted(spans.items(), key=lambda item: (item[0][0], -item[0][1])):
        if start >= at:
            kept += [text[at:start], shown]
            at = end
    return "".join((*kept, text[at:]))


def said_digits(text: str) -> tuple[str, int]:
    """Return the digits in a text, and how many other words it has; hesitations do not count."""
    return _digits_and_other_words(_best_parts(text))


def begins_account(text: str) -> bool:
    """Return whether a text has the beginning of an account number: a country and two digits."""
    parts = _best_parts(text)
    for index in range(len(parts)):
        after, country = _country_letters(parts, index)
        if country and _has_check_digits("".join(item.digits for item in parts[after : after + 2])):
            return True
    return False


def _has_check_digits(characters: str) -> bool:
    """Return whether a text begins with an IBAN's check digits, 02 to 98 (ISO/IEC 7064).

    "My phone no 0049 151 23456789" is no Norwegian account.
    """
    return characters[:2].isdecimal() and "02" <= characters[:2] <= "98"


def without_digits(text: str) -> str:
    """Return a text with each digit, and each word for a number, as asterisks."""
    for part in reversed(_best_parts(text)):
        if part.digits:
            text = text[: part.start] + "*" * len(part.digits) + text[part.end :]
    return text


def _best_parts(text: str) -> Sequence[_Part]:
    """Return the parts of a text in the language in which it has most numbers."""
    tokens = _split_into_tokens(text)
    readings = [_read_numbers(tokens, tag) for tag in _languages_to_try(tokens, least=1)]
    return max(
        readings,
        key=lambda parts: (
            -_digits_and_other_words(parts)[1],
            len(_digits_and_other_words(parts)[0]),
        ),
    )


def _digits_and_other_words(parts: Sequence[_Part]) -> tuple[str, int]:
    others = sum(not part.digits and part.word not in HESITATIONS for part in parts)
    return "".join(part.digits for part in parts), others


def _most_digits(token: _Part) -> int:
    """Return how many digits a word means at most."""
    if token.word in TAGS_BY_WORD:
        return 4  # "quadruple"
    return len(token.word) if token.word.isdecimal() and not token.is_fixed else 0


def _languages_to_try(tokens: Sequence[_Part], *, least: int) -> Sequence[str]:
    """Return the languages in which to read a text; the empty one knows digits only."""
    counts = Counter(tag for token in tokens for tag in TAGS_BY_WORD.get(token.word, ()))
    return ["", *(tag for tag, count in counts.most_common(MAX_LANGUAGES) if count >= least)]


def _split_into_tokens(text: str) -> list[_Part]:
    """Split a text into words and rows of digits."""
    breaks = [found.span() for found in BREAKS.finditer(text)]
    tokens = list[_Part]()
    for found in TOKEN.finditer(text):
        start, word = found.start(), found[0].lower()
        is_fixed = any(begin <= start < end for begin, end in breaks)
        # A small letter may be two characters, as of "İ": then the places would be wrong.
        for begin, end in _words_in(word) if len(word) == len(found[0]) else [(0, len(found[0]))]:
            place = start + begin, start + end
            tokens.append(_Part(*place, word=word[begin:end], is_fixed=is_fixed))
    return tokens


def _words_in(word: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the words in something without spaces: those for numbers apart."""
    at = 0
    if not word.isdecimal() and not _has_capitals(word):
        for row in UNSPACED_ROW.finditer(word):
            if row.start() > at:
                yield at, row.start()
            yield from (found.span() for found in UNSPACED.finditer(word, *row.span()))
            at = row.end()
    elif word not in TAGS_BY_WORD and len(word) <= MAX_COMPOUND:
        for part in _compound(word):
            yield at, at + len(part)
            at += len(part)
    if at < len(word):
        yield at, len(word)


def _read_numbers(tokens: Sequence[_Part], tag: str) -> list[_Part]:
    """Read the numbers among some words in a language; only digits if `tag` is empty."""
    words = _vocabulary(tag)
    parts, at = list[_Part](), 0
    while at < len(tokens):
        token, used = tokens[at], 1
        if token.word.isdecimal() and not token.is_fixed:
            token = replace(token, digits="".join(str(int(item)) for item in token.word))
        elif tag:
            token, used = _read_word(tokens[at : at + MAX_COMPOSED], words)
        parts.append(token)
        at += used
    return _without_lone(parts)


def _without_lone(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts, with a "thousand" next to no number as a word: "bin" is one in Turkish."""
    said = [index for index, part in enumerate(parts) if part.word not in HESITATIONS]
    numbers = [False, *(bool(parts[index].digits) for index in said), False]
    alone = {
        index
        for at, index in enumerate(said)
        if parts[index].digits in LONE
        and parts[index].word not in ("", *LONE)
        and not (numbers[at] or numbers[at + 2])
    }
    return [replace(part, digits="") if at in alone else part for at, part in enumerate(parts)]


def _read_word(tokens: Sequence[_Part], words: _Vocabulary) -> tuple[_Part, int]:
    """Return the number or word at the beginning of some tokens, and how many of them it has."""
    first = tokens[0]
    if first.word in words.repeats and len(tokens) > 1:
        digit, used = _read_word(tokens[1:], replace(words, repeats={}))
        digits = digit.digits or (tokens[1].word if tokens[1].word.isdecimal() else "")
        if len(digits) == 1:
            return _Part(first.start, digit.end, digits * words.repeats[first.word]), used + 1
    value, used = _composed(tokens, words)
    if value is None:
        return first, 1
    word = first.word if used == 1 else ""
    return _Part(first.start, tokens[used - 1].end, f"{value}", word), used


@dataclass(slots=True)
class _Number:
    """A number while its words are read: "four" "thousand" "two" "hundred" "forty" "two".

    Attributes:
        value: Its value so far.
        last: The part that "hundred" multiplies, such as 42 in "forty two hundred".
        limit: What that part must stay below.
        room: What the next part must stay below to be added.
    """

    value: int
    last: int
    limit: int
    room: int

    def take(self, part: int, words: _Vocabulary, *, is_joined: bool) -> bool:
        """Multiply by the next part, or add it; return whether it belongs to this number."""
        scope, limit = (self.value, MOST) if part == 1000 else (self.last, self.limit)
        if part in words.multipliers and 0 < scope < part and scope * part < limit:
            if is_joined:
                return False
            self.value += scope * (part - 1)
            self.last, self.room = 0, part
        elif 0 < part < self.room:
            self.value += part
            if self.room == 10:
                self.last += part
            else:
                self.last, self.limit = part, self.room
            self.room = words.room_after(part)
        else:
            return False
        return True


def _composed(tokens: Sequence[_Part], words: _Vocabulary) -> tuple[int | None, int]:
    """Return the value of the number at the beginning, or `None`, and its tokens' count."""
    value, used = _longest_number(tokens, words.numbers)
    if value is None:
        return None, 0
    number = _Number(value, last=value, limit=MOST, room=words.room_after(value))
    while used < len(tokens):
        is_joined = tokens[used].word in UNIT_JOINTS
        part, more = _longest_number(tokens[used + is_joined :], words.numbers)
        until = used + is_joined + more
        if part is None or not _is_adjacent(tokens[used - 1 : until]):
            break
        after, length = _longest_number(tokens[until:], words.numbers)
        multiplies = after in words.multipliers and _is_adjacent(tokens[until - 1 : until + length])
        if multiplies and part < 10 < number.room <= part * (after or 0):
            break  # "four hundred" "two thousand" are two numbers
        if not number.take(part, words, is_joined=is_joined):
            break
        used = until
    return number.value, used


def _is_adjacent(tokens: Sequence[_Part]) -> bool:
    """Return whether at most one character, such as a space, is between each two words."""
    return all(after.start - before.end <= 1 for before, after in pairwise(tokens))


def _longest_number(
    tokens: Sequence[_Part], numbers: Mapping[tuple[str, ...], int]
) -> tuple[int | None, int]:
    """Return the value of the longest number at the beginning, or `None`, and its tokens' count."""
    if not tokens or tokens[0].word not in TAGS_BY_WORD:
        return None, 0
    for length in range(min(MAX_PARTS, len(tokens)), 0, -1):
        value = numbers.get(tuple(token.word for token in tokens[:length]))
        if value is not None:
            return value, length
    return None, 0


def _rows_of_numbers(text: str, parts: Sequence[_Part]) -> Iterator[Sequence[_Part]]:
    """Yield the rows of numbers next to each other; hesitations may be between them."""
    row, hesitations = list[_Part](), 0
    for part in parts:
        if part.digits:
            if row and (hesitations > MAX_HESITATIONS or _is_apart(text, row[-1], part)):
                yield row
                row = []
            row.append(part)
            hesitations = 0
        elif part.word in HESITATIONS:
            hesitations += 1
        elif row:
            yield row
            row, hesitations = [], 0
    if row:
        yield row


def _is_apart(text: str, before: _Part, part: _Part) -> bool:
    """Return whether other characters than spaces and the marks inside numbers are between them."""
    between = text[before.end : part.start]
    bare = TOKEN.sub("", between)
    return len(bare) > MAX_GAP * (1 + len(TOKEN.findall(between))) or bool(BREAKING.search(bare))


def _masked_cards(text: str, parts: Sequence[_Part]) -> dict[tuple[int, int], str]:
    """Return what to show in place of each row that may be a card number, by its place.

    A telephone number is none, nor is a row that continues a word or a fraction, nor a list of
    round numbers, such as prices, without a card's first digit and checksum.
    """
    spans = dict[tuple[int, int], str]()
    for row in _rows_of_numbers(text, parts):
        digits = "".join(part.digits for part in row)
        begins_phone = digits[0] == "0" or text[: row[0].start].rstrip(" (").endswith("+")
        is_phone = begins_phone and len(digits) <= PHONE_DIGITS
        start = row[0].start
        before = text[max(0, start - 2) : start]  # the row may continue a word or a number
        is_inside = _has_capitals(before[-1:]) or (before[:1].isdecimal() and before[1:] == ".")
        is_card = digits[0] in CARD_STARTS and _card_length(digits)
        is_list = not is_card and all(map(_is_round, row))
        if len(digits) >= CARD_DIGITS.start and not (is_phone or is_inside or is_list):
            spans[row[0].start, row[-1].end] = _mask_card(digits)
    return spans


def _masked_corrections(text: str, parts: Sequence[_Part]) -> dict[tuple[int, int], str]:
    """Return what to show in place of a card number and its correction, by its place."""
    spans = dict[tuple[int, int], str]()
    for row, after in pairwise(_rows_of_numbers(text, parts)):
        first, second = ("".join(part.digits for part in said) for said in (row, after))
        between = set(TOKEN.findall(text[row[-1].end : after[0].start].lower()))
        kept = CORRECTED_LENGTHS.get(first[0], 16) - len(second)
        digits = first[:kept] + second
        is_corrected = between & CORRECTIONS and between <= AROUND_CORRECTIONS
        if not is_corrected or not 0 < kept <= len(first):
            continue
        differing = sum(old != new for old, new in zip(first[kept:], second, strict=False))
        if differing <= MAX_CORRECTED and _is_whole_card(digits):
            spans[row[0].start, after[-1].end] = show_last(digits)
    return spans


def _is_whole_card(digits: str) -> bool:
    return digits[0] in CARD_STARTS and _card_length(digits) == len(digits)


def _mask_card(digits: str) -> str:
    """Mask a card number; what follows a complete one may be its date and code."""
    if length := _card_length(digits):
        return show_last(digits[:length]) + "*" * (len(digits) - length)
    return show_last(digits) if len(digits) <= 16 else "*" * len(digits)


def _card_length(digits: str) -> int:
    """Return how many of the first digits are a number with a card's checksum; 0 if none are."""
    for length in (len(digits), 15 if digits[0] == "3" else 16):
        if passes_luhn([int(item) for item in digits[:length]]):
            return length
    return 0


def _is_round(part: _Part) -> bool:
    return len(part.digits) >= ROUND_DIGITS and part.digits.endswith("00")


def _country_letters(parts: Sequence[_Part], index: int) -> tuple[int, str]:
    """Return the country whose letters are at `index`, empty if none, and the index after them."""
    word = parts[index].word.upper()
    if len(word) == 1 and index + 1 < len(parts):  # "D E eight nine"
        word, index = word + parts[index + 1].word.upper(), index + 1
    return index + 1, word if word in IBAN_LENGTHS else ""


def _masked_accounts(text: str, parts: Sequence[_Part]) -> dict[tuple[int, int], str]:
    """Return what to show in place of each account number, by its place."""
    spans, after = dict[tuple[int, int], str](), 0
    for index, part in enumerate(parts):
        if part.start < after or part.digits or len(part.word) > 2:
            continue
        at, country = _country_letters(parts, index)
        length = IBAN_LENGTHS.get(country, 0)
        if length and (
            found := _read_account(text, parts[at : at + 3 * length], length - len(country))
        ):
            end, last = found
            spans[part.start, end] = "*" * (length - SHOWN_DIGITS) + last
            after = end
    return spans


def _read_account(text: str, parts: Sequence[_Part], length: int) -> tuple[int, str] | None:
    """Return the end and the last characters of an account number that begins with two digits.

    `None` if the parts are none; one character may be missing.
    """
    characters, end, before = "", 0, None
    for part in parts:
        if len(characters) >= length or (before and _is_apart(text, before, part)):
            break
        is_letters = (
            part.word.isascii()
            and part.word.isalpha()
            and (
                len(part.word) == 1
                or (len(characters) == 2 and len(part.word) <= 4)  # a bank's code
            )
        )
        if part.digits or is_letters:
            characters += part.digits or part.word.upper()
            end, before = part.end, part
        elif part.word not in HESITATIONS:
            break
    is_account = _has_check_digits(characters) and length - 1 <= len(characters)
    return (end, characters[-SHOWN_DIGITS:]) if is_account else None
