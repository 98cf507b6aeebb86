"""The wait that a provider asks for, from its response headers and message."""

import calendar
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_tz
from typing import Final

MIN_S: Final = 0.1  # a shorter rest has no effect (chosen)
RETRY_WAIT_S: Final = 0.3  # the longest wait for a rate limit to pass inside a turn
MAX_PAUSE_S: Final = 120.0  # openai-python's own limit (_base_client.py); a longer one is an outage
_FIRST_S: Final = 2.0  # the first rest without a time from the provider; doubled for each refusal
_LONGEST_S: Final = 60.0  # the longest such rest
_JITTER: Final = 0.25  # a quarter either way, so that calls do not all retry at once
_GO: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)(ms|s))?")
_HINT: Final = re.compile(r"try again in (?:(\d+)m)?(\d+(?:\.\d+)?)(ms|s)\b", re.IGNORECASE)


def retry_after_s(
    headers: Mapping[str, str], message: str = "", *, utc_s: float | None = None
) -> float | None:
    """Return the wait that the provider asks for, in seconds; `None` without a useful one.

    `retry-after-ms` comes first, then `retry-after` (seconds, perhaps a fraction, or an HTTP date),
    then OpenAI's "Please try again in 1.2s". Only finite waits above 0 are useful.

    Args:
        headers: The response's headers; names in any case.
        message: The error's text.
        utc_s: The current time, in seconds since 1970, for HTTP dates; `None` to use the response's
            `Date`. If that cannot be read either, HTTP dates are ignored.
    """
    values = {name.lower(): value.strip() for name, value in headers.items()}
    if utc_s is None:
        sent_s = _date_s(values.get("date"))
        utc_s = math.inf if sent_s is None else sent_s  # no date is later than infinity
    waits = (
        _seconds_from_text(values.get("retry-after-ms"), 0.001),
        _seconds_from_text(values.get("retry-after"), 1.0),
        _until_date(values.get("retry-after"), utc_s),
        _seconds_in_message(message),
    )
    return next((wait for wait in waits if wait is not None), None)


def may_ask_again(headers: Mapping[str, str]) -> bool:
    """Return whether the provider allows a retry at the same rung (`x-should-retry`)."""
    values = {name.lower(): value.strip().lower() for name, value in headers.items()}
    return values.get("x-should-retry") != "false"


def rest_s(asked_s: float | None, in_a_row: int, *, chance: float) -> float:
    """Return for how long a rate-limited rung is not asked.

    Args:
        asked_s: The wait that the provider asked for, or `None`.
        in_a_row: The number of consecutive refusals before this one.
        chance: 0 to 1; spreads the rest if the provider asked for none.
    """
    if asked_s is not None:
        return max(MIN_S, asked_s)
    grown_s = min(_FIRST_S * 2.0 ** min(in_a_row, 10), _LONGEST_S)
    return grown_s * (1 - _JITTER + 2 * _JITTER * chance)


def duration_s(text: str) -> float | None:
    """Return the seconds of a Go duration such as `6m0s`, `1s` or `12ms`; `None` if invalid."""
    found = _GO.fullmatch(text.strip())
    if found is None or not found.group():
        return None
    hours, minutes, number, unit = found.groups()
    seconds = float(number or 0) * (0.001 if unit == "ms" else 1.0)
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0) + seconds


def _seconds_from_text(value: str | None, unit_s: float) -> float | None:
    """Return a number in a header, in units of `unit_s`; `None` if it is not a positive one."""
    try:
        return _if_positive(float(value or "") * unit_s)
    except ValueError:
        return None


def _until_date(value: str | None, utc_s: float) -> float | None:
    """Return the seconds from `utc_s` until an HTTP date; `None` if invalid or not later."""
    date_s = _date_s(value)
    return None if date_s is None else _if_positive(date_s - utc_s)


def _date_s(value: str | None) -> float | None:
    """Return an HTTP date in seconds since 1970; `None` if invalid."""
    parsed = parsedate_tz(value or "")
    if parsed is None:
        return None
    try:
        return calendar.timegm(parsed[:6]) - (parsed[9] or 0)
    except (ValueError, OverflowError):
        return None


def _seconds_in_message(message: str) -> float | None:
    """Return the wait that an error's text names; `None` if it names none."""
    found = _HINT.search(message)
    if found is None:
        return None
    minutes, number, unit = found.groups()
    return _if_positive(60.0 * int(minutes or 0) + float(number) * (0.001 if unit == "ms" else 1.0))


def _if_positive(wait_s: float) -> float | None:
    return wait_s if math.isfinite(wait_s) and wait_s > 0 else None
