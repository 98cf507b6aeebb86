"""Masks keys, addresses, phone numbers, cards and accounts in texts that leave a process.

Used for the log, the record, alerts, pages and traces, always as the last step before a text leaves
the process, so that it does not matter which code wrote the text.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberMatcher

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallStarted,
    Event,
    PersonWanted,
    TranscriptFinal,
)
from configuration.known_secrets import KNOWN, SHOWN
from fallbacks.data_files import read_data

MASKED_ENDING: Final = 2  # last digits that `mask_number` shows
ENDINGS: Final = ((4, 12), (2, 7))  # last digits shown, and the least length of the number
SHORT: Final = 9  # characters of a number; five shown at its beginning would be most of it


def mask_number(number: str) -> str:
    """Return a phone number with its middle hidden: `+15551234567` is `+1555****67`."""
    if len(number) <= 6:
        return "*" * len(number)
    return f"{number[: 2 if len(number) <= SHORT else 5]}****{number[-2:]}"


def ending(number: str) -> str:
    """Return a number's last digits: lists show them, and a search may find them.

    Together with what `mask_number` shows, at least three characters stay hidden.
    """
    return next((number[-shown:] for shown, least in ENDINGS if len(number) >= least), "")


def least_length(digits: int) -> int | None:
    """Return the length from which on numbers show that many last digits; `None` for too many."""
    return min((least for shown, least in ENDINGS if digits <= shown), default=None)


def counted(text: str) -> str:
    """Return `[3 words]` for a text of three words; empty for an empty text."""
    return f"[{len(text.split())} words]" if text else ""


def without_numbers(entry: Entry) -> Entry:
    """Return the entry with phone numbers masked, for a log that may contain words."""
    match entry.event:
        case CallStarted() as event:
            hidden = replace(
                event, caller=mask_number(event.caller), called=mask_number(event.called)
            )
        case _:
            return entry  # the most frequent case; entries are shared and never changed
    return replace(entry, event=hidden)


def without_words(entry: Entry) -> Entry:
    """Return the entry without words and numbers, for all readers but the call's own record."""
    match entry.event:
        case TranscriptFinal() as event:
            hidden = replace(event, text=counted(event.text), alternatives=())
        case AgentSaid() as event:
            hidden = replace(event, text=counted(event.text))
        case PersonWanted() as event:
            hidden = replace(event, reason=counted(event.reason))
        case CallbackWanted() as event:
            hidden = replace(event, when=counted(event.when), reason=counted(event.reason))
        case _:
            return without_numbers(entry)
    return replace(entry, event=hidden)


REGIONS: Final = ("US", "RU")  # with their own notation of numbers
MAX_LOOKED_UP: Final = 8  # candidates per text that are looked up; all further ones are masked
NATIONAL_DIGITS: Final = 9  # at least, without a plus: fewer are amounts, times, sizes
OWN_DIGITS: Final = 8  # at least, if the tables know it as a number of `server.region`
# A cheap and broad filter; only its matches are looked up in the number tables. A plus may follow
# anything, and an underscore does not count as a letter: LiveKit rooms are named call-_NUMBER_x.
SHAPED: Final = re.compile(
    r"(?:(?P<plus>(?:\+|%2[Bb]))|(?<![^\W_])(?<!\d[.:]))\(?\d"
    r"(?:[ \-/().\u00a0\u2010-\u2015]{0,3}\d){6,18}"
    r"(?![^\W_])(?!\.\d)(?!:\d\d)"
)
ABROAD: Final = "00"
TRUNK: Final = re.compile(r"0[1-9]\d{7,10}")  # most countries' own notation, without separators
ADDRESS: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")  # an IP address
FRACTION: Final = re.compile(r"\d+\.\d+")
DATE: Final = re.compile(r"[12]\d{3}[-/.]?[01]\d[-/.]?[0-3]\d(?!\d)")


def without_phones(text: str) -> str:
    """Return text with the middle of each telephone number hidden.

    Numbers with a plus, or with the zero that most countries put before a national number, are
    always detected; others only for the countries in `REGIONS` and for `server.region`. After
    `MAX_LOOKED_UP` candidates, each further one is hidden without a look-up.
    """
    found = [match for match in SHAPED.finditer(text) if _may_be_number(match)]
    if not found:
        return text
    parts, at = [], 0
    for index, match in enumerate(found):
        parts.append(text[at : match.start()])
        parts.append(_mask_number(match, _regions_to_try() if index < MAX_LOOKED_UP else None))
        at = match.end()
    return "".join((*parts, text[at:]))


def _regions_to_try() -> Sequence[str]:
    return (*REGIONS, KNOWN.region) if KNOWN.region else REGIONS


def _may_be_number(found: re.Match[str]) -> bool:
    """Return whether a match may be a phone number by its length, and is no address or date."""
    if found["plus"]:
        return True
    digits = _ascii_digits(found[0])
    return len(digits) >= (OWN_DIGITS if KNOWN.region else NATIONAL_DIGITS) and not (
        ADDRESS.fullmatch(found[0]) or FRACTION.fullmatch(found[0]) or DATE.match(found[0])
    )


def _mask_number(found: re.Match[str], regions: Sequence[str] | None) -> str:
    """Return the match, masked if it is a phone number.

    If `regions` is `None`, the match is masked without a look-up.
    """
    digits = _ascii_digits(found[0].removeprefix(found["plus"] or ""))
    if found["plus"]:  # only phone numbers are written like that
        return mask_number(f"+{digits}")
    if regions is None or TRUNK.fullmatch(digits):
        return mask_number(digits)
    if len(digits) < NATIONAL_DIGITS:
        is_number = _is_valid(digits, KNOWN.region)
    elif digits == found[0]:
        is_number = _is_number(digits, regions)
    else:
        is_number = _is_abroad(digits) or any(_holds_number(found[0], item) for item in regions)
    return mask_number(digits) if is_number else found[0]


def _is_number(digits: str, regions: Sequence[str]) -> bool:
    """Return whether bare digits are a phone number, with or without a country code."""
    return (
        _is_abroad(digits)
        or _is_valid(f"+{digits}", None)
        or any(_is_valid(digits, region) for region in regions)
    )


def _is_abroad(digits: str) -> bool:
    """Return whether digits are a number as most countries dial it from abroad (ITU-T E.164)."""
    return digits.startswith(ABROAD) and _is_valid(f"+{digits.removeprefix(ABROAD)}", None)


def _is_valid(text: str, region: str | None) -> bool:
    """Return whether a text is a telephone number that exists in its country's plan."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except NumberParseException:
        return False


def _holds_number(text: str, region: str) -> bool:
    """Return whether digits and marks contain a number in a country's own notation."""
    possible = PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.POSSIBLE)
    return any(len(_ascii_digits(item.raw_string)) >= NATIONAL_DIGITS for item in possible)


def _ascii_digits(text: str) -> str:
    """Return the digits of a text, also of other scripts, as ASCII."""
    return "".join(str(int(item)) for item in text if item.isdecimal())


MAX_LINE_BYTES: Final = 1024  # of a line's own text; our own lines have 100 to 500
CUT_SHORT: Final = "… [{} more bytes]"
# Terminal controls and line ends in any alphabet: C0 and C1, line and paragraph separators,
# marks that change the writing direction (Unicode 15, UAX 9), lone surrogates.
CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
CARD_SHAPED: Final = re.compile(  # 13 to 19 digits (ISO/IEC 7812), not part of a word or a fraction
    r"(?<!\w)(?<!\d\.)\d(?:[ \-\u00a0\u2010-\u2015]?\d){12,18}(?!\w|\.\d)"
)
CARD_FORM: Final = re.compile(  # as printed on a card; a digit may be misheard
    r"(?<![\w.])(?:\d{4}(?P<gap>[ .\-/\u00a0\u2010-\u2015])(?:\d{4}(?P=gap)){2}\d{4}"
    r"(?:(?P=gap)\d{1,3})?"
    r"|3[47]\d\d(?P<mark>[ .\-/\u00a0\u2010-\u2015])\d{6}(?P=mark)\d{5})(?!\w|\.\d)"
)
SHOWN_DIGITS: Final = 4  # of a card or an account, the last ones, as on a receipt
IBAN_SHAPED: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \-\u00a0]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])"
)
IBANS: Final[Mapping[str, str]] = read_data(__name__, "iban_lengths.yaml")
IBAN_LENGTHS: Final = {
    country: int(length) for length in IBANS for country in IBANS[length].split()
}


def one_line(text: str) -> str:
    """Return text with each control character escaped."""
    return CONTROL.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text
    )


def bounded(text: str) -> str:
    """Cut a text to `MAX_LINE_BYTES`, and append how many bytes are missing."""
    raw = text[: MAX_LINE_BYTES + 1].encode("utf-8", "replace")
    if len(raw) <= MAX_LINE_BYTES and len(text) <= MAX_LINE_BYTES:
        return text
    kept = raw[:MAX_LINE_BYTES].decode("utf-8", "ignore")
    return kept + CUT_SHORT.format(len(text.encode("utf-8", "replace")) - len(kept.encode()))


def without_cards(text: str) -> str:
    """Mask card and account numbers, except for their last four digits."""
    text = IBAN_SHAPED.sub(_mask_iban, text)
    text = CARD_FORM.sub(lambda found: show_last(_ascii_digits(found[0])), text)
    return CARD_SHAPED.sub(_mask_card, text)


def _mask_card(found: re.Match[str]) -> str:
    digits = [int(item) for item in found[0] if item.isdigit()]
    return show_last("".join(map(str, digits))) if passes_luhn(digits) else found[0]


def show_last(digits: str) -> str:
    """Mask a card or an account number, except for its last four characters."""
    return "*" * (len(digits) - SHOWN_DIGITS) + digits[-SHOWN_DIGITS:]


def _mask_iban(found: re.Match[str]) -> str:
    """Mask an account number; keep following words, which the pattern also matches."""
    ends = [place + 1 for place, item in enumerate(found[0]) if item.isalnum()]
    length = IBAN_LENGTHS.get(found[0][:2].upper(), 0)
    if not 0 < length <= len(ends):
        return found[0]
    end = ends[length - 1]
    number, rest = "".join(filter(str.isalnum, found[0][:end])), found[0][end:]
    if rest[:1].isalnum() or not _passes_mod_97(number):
        return found[0]
    return show_last(number) + rest


def _passes_mod_97(number: str) -> bool:
    """Return whether the two check digits are right (ISO 7064, MOD 97-10)."""
    return int("".join(str(int(item, 36)) for item in number[4:] + number[:4])) % 97 == 1


def passes_luhn(digits: list[int]) -> bool:
    """Return whether the last digit is the right checksum (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * digit for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(item - 9 * (item > 9) for item in doubled)) % 10 == 0


READ_CHARACTERS: Final = 2 * MAX_LINE_BYTES  # of a text; the rest is never shown
FROM_OTHERS: Final = ("reason", "error")  # fields of events that may quote a provider
CALLERS_WORDS: Final = (PersonWanted, CallbackWanted)
MAX_ADDRESS: Final = 254  # characters of an e-mail address (RFC 5321)
UNSPOKEN_WORDS: Final = re.compile(r"not speaking \[.*", re.DOTALL)
KEY_SHAPED: Final = re.compile(
    r"(?i)(bearer|token|x-api-key|xi-api-key|authorization)([\"':=\s]+)([\w.\-/+]{8,})"
    r"|\bsk[-_][\w\-]{8,}"
)
# In each, the first group is the text before the secret. `Basic` is the name and password of
# RFC 7617; a Telegram token is a bot's number, a colon and 35 characters, in the path.
SECRET_SHAPED: Final = (
    re.compile(
        r"(?i)(\bauthorization\\?[\"']?[:=\s]{1,3}b?\\?[\"']?(?:basic|digest)\s)[^\"'\\\r\n]{4,}"
    ),
    re.compile(r"(?i)(\bbasic\s)(?=\S{0,60}[\d=])[\w+/=\-]{8,}"),
    re.compile(r"(?i)(\bbearer\s+)[\w.\-/+=~]{8,}"),
    re.compile(
        r"(?i)((?:api[_-]?key|secret|passw(?:or)?d|credential|signature|_token)"
        r"\\?[\"']?\s{0,3}[:=]\s{0,3}b?\\?[\"']?)[^\s\"'\\,;&)}\]]{6,}"
    ),
    re.compile(r"(?i)(\b(?:set-)?cookie\\?[\"']?\s{0,3}[:=]\s{0,3}b?\\?[\"']?)[^\"'\\\r\n]{4,}"),
    re.compile(r"(/?\bbot)\d{6,12}:[\w\-]{20,}"),
    re.compile(r"()(?<![\w\-])\d{6,12}:AA[\w\-]{30,}"),
    re.compile(r"()\bey[JK][\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?"),
    re.compile(r"()\b(?:xox[a-z]-[\w\-]{10,}|gh[pousr]_\w{20,}|whsec_[\w+/=]{8,})"),
)
PASSWORD_IN_ADDRESS: Final = re.compile(r"(://[^/@\s:\"']{0,100}:)(?!\d{1,5}/)[^\s\"@]{1,200}(?=@)")
HINTS: Final = (  # each pattern needs one of these: most lines have none
    "basic", "bearer", "digest", "key", "secret", "passw", "credential", "signature", "token",
    "cookie", "authorization", "bot", ":aa", "eyj", "eyk", "xox", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "whsec_", "sk-", "sk_",
)  # fmt: skip
MAIL: Final = re.compile(r"[\w.+\-%]{1,64}@(?=[\w\-]{1,63}\.)((?:[\w\-]{1,63}\.){1,4}[\w\-]{2,63})")


def redacted(text: str) -> str:
    """Return `text` without keys, cards, phone numbers and e-mail addresses.

    Also without the words that Pipecat logs as `not speaking [...]`. A very long text is cut.
    """
    is_complete = len(text) <= READ_CHARACTERS
    text = UNSPOKEN_WORDS.sub("not speaking [...]", text[:READ_CHARACTERS])
    text = without_keys(text)
    if not is_complete:  # a secret that was cut at the end would not be recognised
        text = text[: -max(KNOWN.longest, MAX_ADDRESS)]
    return without_people(text)


def without_keys(text: str) -> str:
    """Return `text` without secrets: those of this process, and whatever looks like one."""
    text = KNOWN.hide(text)
    if "://" in text and "@" in text:
        text = PASSWORD_IN_ADDRESS.sub(rf"\1{SHOWN}", text)
    lower = text.lower()
    if not any(hint in lower for hint in HINTS):
        return text
    for shape in SECRET_SHAPED:
        text = shape.sub(lambda found: f"{found[1]}{SHOWN}", text)
    return KEY_SHAPED.sub(_without_value, text)


def without_people(text: str) -> str:
    """Return `text` without personal data: card, e-mail address, phone number."""
    text = without_cards(text)
    if "@" in text:
        text = MAIL.sub(r"****@\1", text)
    return without_phones(text)


def printable(text: str) -> str:
    """Return a text as one bounded and masked line."""
    return bounded(one_line(redacted(text)))


def masked_event(event: Event) -> Event:
    """Return an event with quoted texts masked; in a caller's own words, only keys are masked."""
    mask = without_keys if isinstance(event, CALLERS_WORDS) else redacted
    changed: dict[str, Any] = {}
    for name in FROM_OTHERS:
        text = getattr(event, name, None)
        if text and isinstance(text, str) and (shown := mask(text)) != text:
            changed[name] = shown
    return replace(event, **changed) if changed else event


def clean(value: Any, mask: Callable[[str], str] = redacted) -> Any:
    """Return a JSON value with each text masked, except field names."""
    match value:
        case str():
            return mask(value)
        case Mapping():
            return {name: clean(item, mask) for name, item in value.items()}
        case list() | tuple():
            return [clean(item, mask) for item in value]
        case _:
            return value


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1] or ''}{found[2] or ''}{SHOWN}"
