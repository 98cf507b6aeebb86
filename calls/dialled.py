"""The result of dialling a number, from the SIP status, and what follows from it, as a table.

If there is a SIP status, it alone decides. The gateway also reports an HTTP status and a code of
its own, but their meaning differs from the usual one: its 429 is a busy callee, not a rate limit.

Each verdict answers two independent questions: whether to dial this number again, and whether the
trunk, which carries all dials, is healthy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from calls.leg_events import LegOutcome
from fallbacks.data_files import read_data

Again: TypeAlias = Literal["no", "later", "never"]
"""Advice on another dial. `no`: the dial was answered or cancelled. `never`: dialling this number
is useless."""

Trunk: TypeAlias = Literal["well", "strained", "refusing"]
"""The state of the trunk. `strained`: a failure that counts towards the breaker. `refusing`: a
person must act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialVerdict:
    """The meaning of a dial's result.

    Attributes:
        outcome: The outcome for the record.
        reason: A code to filter by.
        again: Whether this number should be dialled again.
        trunk: The state of the trunk.
    """

    outcome: LegOutcome
    reason: str
    again: Again = "later"
    trunk: Trunk = "well"


_ROWS: Final[Mapping[str, Mapping[str, Any]]] = read_data(__name__, "dialled.yaml")
_FIELDS: Final = ("outcome", "again", "trunk")
_BY_REASON: Final = {
    reason: DialVerdict(reason=reason, **{key: row[key] for key in _FIELDS if key in row})
    for reason, row in _ROWS.items()
}


def _verdicts_by(key: str, separator: str | None = None) -> dict[str, DialVerdict]:
    """Return the verdicts by each item of the rows' lists in `key`, split at `separator`.

    An item in two rows gets the verdict of the later one.
    """
    return {
        item: _BY_REASON[reason]
        for reason, row in _ROWS.items()
        for item in row.get(key, "").split(separator)
        if item
    }


ANSWERED: Final = _BY_REASON["answered"]
GATEWAY_LOST: Final = _BY_REASON["gateway_lost"]
VERDICTS: Final[Mapping[int, DialVerdict]] = {
    int(key): item for key, item in _verdicts_by("sip").items()
}
_WITHOUT_STATUS: Final = _verdicts_by("codes")
_BY_WORDS: Final = _verdicts_by("words", "|")
_GAVE_UP: Final = frozenset({"canceled", "deadline_exceeded"})


def judge_dial(sip_code: int | None, *, code: str = "", words: str = "") -> DialVerdict:
    """Return the meaning of a dial that was not answered.

    Args:
        sip_code: The SIP status from the callee or the carrier; `None` if there was none. One that
            is not in the table is the carrier's trouble if it is 5xx, else a refusal.
        code: The gateway's own code, used only without a status.
        words: The gateway's text, used only if the gateway gave up the call.
    """
    if sip_code is None:
        text = words.lower() if code in _GAVE_UP else ""
        known = (verdict for part, verdict in _BY_WORDS.items() if part in text)
        return next(known, _WITHOUT_STATUS.get(code, GATEWAY_LOST))
    if sip_code in VERDICTS:
        return VERDICTS[sip_code]
    return _BY_REASON["carrier_trouble" if 500 <= sip_code < 600 else "refused"]
