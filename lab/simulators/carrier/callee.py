"""The carrier's callees, and the outcomes of calls to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree

Fate: TypeAlias = Literal["answered", "busy", "no-answer", "failed"]
SIP_CODES: Final[Mapping[Fate, int]] = {
    "answered": 200,
    "busy": 486,
    "no-answer": 487,
    "failed": 404,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A person with a number; without lines or a greeting, a silent one."""

    fate: Fate = "answered"
    ring_s: float = 1.0
    talk_s: float = 3.0  # with a transferred caller
    answered_by: str = "human"  # the result of answering-machine detection
    sip_code: int | None = None  # `None` for the usual one of the outcome
    lines: tuple[str, ...] = ()  # a person's words, each after what they heard
    leaves_after_s: float | None = None  # hangs up this long into the answer to the last line
    greeting: str = ""  # of a machine, which starts at once, and records after its beep
    records_s: float = 6.0

    @property
    def sip(self) -> int:
        """The SIP status for this outcome."""
        return self.sip_code or SIP_CODES[self.fate]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialVerb:
    """An order to a live call: `<Dial>` or `<Refer>`."""

    number: str
    action: str | None
    refers: bool = False
    timeout_s: float = 30.0
    callback: str | None = None
    events: Sequence[str] = ("completed",)


def read_dial(text: str) -> DialVerb | None:
    """Return the verb of a TwiML document that rings a person, if there is one."""
    root = ElementTree.fromstring(text)  # noqa: S314 - the order of the server under test
    refer, dial = root.find("Refer"), root.find("Dial")
    if refer is not None:
        return DialVerb(
            number=(refer.findtext("Sip") or "").strip(), action=refer.get("action"), refers=True
        )
    if dial is None:
        return None
    noun = dial.find("Number")
    if noun is None:
        noun = dial.find("Sip")
    return DialVerb(
        number=((noun.text if noun is not None else dial.text) or "").strip(),
        action=dial.get("action"),
        timeout_s=float(dial.get("timeout", "30")),
        callback=None if noun is None else noun.get("statusCallback"),
        events=("" if noun is None else noun.get("statusCallbackEvent", "completed")).split(),
    )
