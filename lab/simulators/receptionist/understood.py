"""Extracts a caller's request and the facts of a booking from an utterance.

The words come from a recogniser, so only keywords are matched, without grammar or order, and digits
are read as number words.
"""

import functools
import re
from dataclasses import dataclass
from typing import Final

from lab.simulators.ears import domain

_WORDS: Final = re.compile(r"[a-z']+|\d+")
_NUMBERS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)
_LARGER: Final = {"30": "thirty", "40": "forty", "45": "forty five"}
_SAID_APART: Final = {"hair cut": "haircut", "checkup": "check up", "o clock": "o'clock"}
_PHONE_DIGITS_AT_LEAST: Final = 5  # fewer digits are a time of day

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SERVICES: Final = ("haircut", "consultation", "check up", "massage", "cleaning", "table")
_SERVICE: Final = re.compile(rf"\b({'|'.join(SERVICES)})s?\b")
_HOUR: Final = "(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_MINUTE: Final = "(fifteen|thirty|forty five)"
_TIMES: Final = tuple(
    re.compile(rf"\b({pattern})\b")
    for pattern in (
        rf"(?:half past|quarter past|quarter to) {_HOUR}",
        rf"{_HOUR} in the (?:morning|afternoon|evening)",
        rf"{_HOUR} (?:o'clock|[ap] m|[ap]m)",
        rf"{_HOUR} {_MINUTE}",
        rf"(?:at|about|around) {_HOUR}",
        r"noon|midday",
    )
)
_BARE_HOUR: Final = re.compile(rf"^(?:for |{'|'.join(DAYS)}| )*{_HOUR}(?: please)?$")
_PARTS: Final = re.compile(r"\b(morning|afternoon|evening)\b")
_DAY: Final = re.compile(
    r"\b(?:the )?(day after tomorrow|tomorrow|today|next week|this week"
    rf"|(?:next )?(?:{'|'.join(DAYS)}))\b"
)
_NAME_IS: Final = re.compile(r"\b(?:name is|this is|it is|it's|i am|i'm|call me) ([a-z ']+)$")
_AFTER_NAME: Final = re.compile(r"\b(please|thanks|thank you|and|from|speaking)\b.*$")

# The first matching row decides, so specific rows come before general ones.
_WANTS: Final = tuple(
    (want, re.compile(pattern))
    for want, pattern in (
        ("cancel", r"\bcancel\b"),
        ("repeat", r"\brepeat\b|\bsay (?:that|it) again\b|\bdid you say\b|\bpardon\b"),
        ("repeat", r"^(?:sorry )?what$|^(?:i am |i'm )?sorry$"),
        ("repeat", r"\b(?:not|don't|didn't) understand\b"),
        ("goodbye", r"\b(?:good ?bye|bye)\b"),
        ("callback", r"\bcall(?:ed)? (?:me )?back\b|\bcallback\b|\bring me back\b"),
        ("presence", r"\bare you there\b|\bis any(?:body|one) there\b|\bhear me\b"),
        ("person", r"\bperson\b|\bhuman\b|\bmanager\b|\btransfer\b|\bcolleague\b"),
        ("person", r"\bput me through\b|\b(?:speak|talk) (?:to|with)\b"),
        ("free", r"\b(?:any|some)thing (?:free|later|earlier|else|on|at|for|in)\b"),
        ("free", r"\bare you free\b|\bis .+ free\b|\bhave (?:time|anything)\b"),
        ("price", r"\bcosts?\b|\bprices?\b|\bcharge\b|\bhow much\b"),
        ("hours", r"\bhours\b|\bopen\b|\bclose[ds]?\b|\bopening\b"),
        ("address", r"\bwhere\b|\baddress\b|\bget there\b|\boffice\b"),
        ("wait", r"\bwait\b|\bhold on\b|\b(?:one|a|just a) moment\b|^stop\b"),
        ("change", r"\bchange\b|\bmove my\b"),
        ("done", r"\bthat is all\b|\bthat's all\b|\bnothing else\b|^no,? (?:thank|thanks)\b"),
        ("book", r"\bbook\b|\bappointment\b|\breserve\b|\bcome\b"),
        ("help", r"\bhelp\b|\bquestion\b|\bwhat can you\b"),
    )
)
_YES: Final = re.compile(
    r"^(?:yes|yeah|yep|sure|okay|ok|correct|right|fine|great|perfect|that is right|that's right"
    r"|please do)\b"
)
_NO: Final = re.compile(r"^(?:no|nope|not)\b")
_THANKS: Final = re.compile(r"\bthank(?:s| you)\b")
_HELLO: Final = re.compile(r"^(?:hello|hi|hey|good (?:morning|afternoon|evening|day))\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """The receptionist's understanding of one utterance.

    Attributes:
        words: The utterance in lower case without punctuation, numbers as words.
        want: The request: `book`, `hours`, `price`, ...; "" without a keyword.
        number: A phone number, digit by digit.
    """

    words: str
    want: str = ""
    yes: bool = False
    no: bool = False
    thanks: bool = False
    hello: bool = False
    service: str = ""
    day: str = ""
    time: str = ""
    name: str = ""
    number: str = ""

    @property
    def slots(self) -> bool:
        """Whether it holds a fact for a booking."""
        return bool(self.service or self.day or self.time or self.name)


def understand(text: str) -> Understood:
    """Return what an utterance asks for, and the facts in it, as far as keywords show them."""
    words = plain(text)
    return Understood(
        words=words,
        want=next((want for want, pattern in _WANTS if pattern.search(words)), ""),
        yes=bool(_YES.search(words)),
        no=bool(_NO.search(words)),
        thanks=bool(_THANKS.search(words)),
        hello=bool(_HELLO.search(words)),
        service=_find_service(words),
        day=_find_day(words),
        time=_find_time(words),
        name=_find_name(words),
        number=_find_number(words),
    )


def plain(text: str) -> str:
    """Return a text in lower case, without punctuation, with numbers as words."""
    words = " ".join(_as_word(found) for found in _WORDS.findall(text.lower()))
    for apart, together in _SAID_APART.items():
        words = words.replace(apart, together)
    return words


def _as_word(found: str) -> str:
    """Return digits as words: a known number as one, any other digit by digit."""
    if not found.isdigit():
        return found
    if found in _LARGER:
        return _LARGER[found]
    if len(found) <= 2 and int(found) < len(_NUMBERS):
        return _NUMBERS[int(found)]
    return " ".join(_NUMBERS[int(digit)] for digit in found)


def _find_service(words: str) -> str:
    found = _SERVICE.search(words)
    return found[1] if found else ""


def _find_day(words: str) -> str:
    """Return the day named, such as "Monday" or "the day after tomorrow"; else empty."""
    found = _DAY.search(words)
    if not found:
        return ""
    day = " ".join(word.capitalize() if word in DAYS else word for word in found[1].split())
    return f"the {day}" if day.startswith("day") else day


def _find_time(words: str) -> str:
    """Return the time or the part of the day; empty without one, or in a telephone number."""
    if _find_number(words):
        return ""
    for pattern in _TIMES:
        if found := pattern.search(words):
            return _spoken_time(re.sub(r"^(?:at|about|around) ", "", found[1]))
    if found := _BARE_HOUR.search(words):
        return _spoken_time(found[1])
    rest = re.sub(r"\bgood (?:morning|afternoon|evening)\b", "", words)
    if found := _PARTS.search(rest):
        return f"in the {found[1]}"
    return ""


def _spoken_time(time: str) -> str:
    return f"{time} o'clock" if time in _NUMBERS else time


def _find_name(words: str) -> str:
    """Return the name that is stated, or that alone is said and is listed; else empty."""
    first, last = _known_names()
    if found := _NAME_IS.search(words):
        said = _AFTER_NAME.sub("", found[1]).split()
        if "name is" in words or (said and said[0] in first):
            return " ".join(said[:2]).title()
    said = words.split()
    if len(said) <= 3 and said and said[0] in first:
        return " ".join(said[: 2 if len(said) > 1 and said[1] in last else 1]).title()
    return ""


def _find_number(words: str) -> str:
    """Return the digits as words if they are enough for a telephone number; else empty."""
    digits = [word for word in words.split() if word in _NUMBERS[:10] or word == "oh"]
    return " ".join(digits) if len(digits) >= _PHONE_DIGITS_AT_LEAST else ""


@functools.cache
def _known_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the first and last names that the lab's recogniser knows."""
    slots = domain.read_templates().slots
    return frozenset(slots["first"]), frozenset(slots["last"])
