"""What no text that leaves the process may show: keys, addresses of people, telephones, cards.

One function, for every way out: log, record, alerts, pages, traces. It is asked last, right before
a text leaves, whichever code wrote it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from bot.config.known_secrets import KNOWN, SHOWN
from calls.events import CallbackWanted, Event, PersonWanted
from operations.phones import without_phones
from operations.printable import LONGEST_BYTES, bounded, one_line, without_cards

READ_CHARACTERS: Final = 2 * LONGEST_BYTES  # of a text; what is behind them is never shown
FROM_OTHERS: Final = ("reason", "error")  # fields of facts that may quote a provider
CALLERS_WORDS: Final = (PersonWanted, CallbackWanted)
LONGEST_ADDRESS: Final = 254  # characters of an e-mail address (RFC 5321)
TELLS_WORDS: Final = re.compile(r"not speaking \[.*", re.DOTALL)
KEY_SHAPED: Final = re.compile(
    r"(?i)(bearer|token|x-api-key|xi-api-key|authorization)([\"':=\s]+)([\w.\-/+]{8,})"
    r"|\bsk[-_][\w\-]{8,}"
)
# Each has what stands before the secret as its first group. `Basic` is the name and password of
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
HINTS: Final = (  # what one of these needs to be found: most lines have none of it
    "basic", "bearer", "digest", "key", "secret", "passw", "credential", "signature", "token",
    "cookie", "authorization", "bot", ":aa", "eyj", "eyk", "xox", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "whsec_", "sk-", "sk_",
)  # fmt: skip
MAIL: Final = re.compile(r"[\w.+\-%]{1,64}@(?=[\w\-]{1,63}\.)((?:[\w\-]{1,63}\.){1,4}[\w\-]{2,63})")


def redacted(text: str) -> str:
    """Return `text` without keys, cards, telephones, addresses, and words nobody was to hear.

    Its end is gone when it is very long.
    """
    whole = len(text) <= READ_CHARACTERS
    text = TELLS_WORDS.sub("not speaking [...]", text[:READ_CHARACTERS])
    text = without_keys(text)
    if not whole:  # what was cut in two at the end is recognised by nobody
        text = text[: -max(KNOWN.longest, LONGEST_ADDRESS)]
    return without_people(text)


def without_keys(text: str) -> str:
    """Return `text` without secrets: those of this process, and what looks like one."""
    text = KNOWN.hide(text)
    if "://" in text and "@" in text:
        text = PASSWORD_IN_ADDRESS.sub(rf"\1{SHOWN}", text)
    lower = text.lower()
    if not any(each in lower for each in HINTS):
        return text
    for shape in SECRET_SHAPED:
        text = shape.sub(lambda found: f"{found[1]}{SHOWN}", text)
    return KEY_SHAPED.sub(_without_value, text)


def without_people(text: str) -> str:
    """Return `text` without what leads to a person: card, e-mail address, telephone."""
    text = without_cards(text)
    if "@" in text:
        text = MAIL.sub(r"****@\1", text)
    return without_phones(text)


def printable(text: str) -> str:
    """Return a text as one bounded line that shows nothing it must not."""
    return bounded(one_line(redacted(text)))


def masked_event(event: Event) -> Event:
    """Return a fact with what it quotes of others masked; a caller's own words lose keys alone."""
    mask = without_keys if isinstance(event, CALLERS_WORDS) else redacted
    changed: dict[str, Any] = {}
    for name in FROM_OTHERS:
        said = getattr(event, name, None)
        if said and isinstance(said, str) and (shown := mask(said)) != said:
            changed[name] = shown
    return replace(event, **changed) if changed else event


def clean(value: Any, mask: Callable[[str], str] = redacted) -> Any:
    """Return a value of JSON with each text in it masked, names of fields apart."""
    match value:
        case str():
            return mask(value)
        case Mapping():
            return {name: clean(each, mask) for name, each in value.items()}
        case list() | tuple():
            return [clean(each, mask) for each in value]
        case _:
            return value


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1] or ''}{found[2] or ''}{SHOWN}"
