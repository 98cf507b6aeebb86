"""The sentence about a rung that only a person can mend: the vendor, the variable, the status.

The ready line, the log, `holdline doctor`, the console and the alerts show the same one. It depends
on the kind of the failure and on the HTTP status in its reason, so it does not matter whether a
probe or a caller's request was refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fallbacks.failure import Kind

STATUS: Final = re.compile(r"\b4[0-9]{2}\b")
FORBIDDEN: Final = "403"
SENTENCES: Final[Mapping[str, str]] = {
    Kind.AUTH: "{title} rejects {key}",
    Kind.QUOTA: "{title} has no credit left for {key}",
    Kind.NOT_FOUND: "{title} does not know the model, the voice or the address of {place}",
}
MAY_NOT: Final = "{title} accepts {key}, but it lacks a permission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A rung's vendor and key, as an operator knows them.

    Attributes:
        title: The vendor's name.
        key: The variable that holds the rung's key.
        place: The rung's key in the configuration, such as `stages.llm openai`.
    """

    title: str
    key: str
    place: str


def explain(kind: str, reason: str, vendor: Vendor | None) -> str:
    """Return the sentence about a failure, or its reason if no person has to act."""
    sentence = SENTENCES.get(kind)
    if vendor is None or sentence is None:
        return reason
    found = STATUS.search(reason)
    if kind == Kind.AUTH and found and found[0] == FORBIDDEN:
        sentence = MAY_NOT
    said = sentence.format(title=vendor.title, key=vendor.key, place=vendor.place)
    return f"{said} ({found[0]})" if found else said


def unusable(said: str, vendor: Vendor | None) -> str:
    """Return a failed probe's sentence, or its reason with the vendor's name."""
    if vendor is None or said.startswith(vendor.title):
        return said
    return f"{vendor.title} is not usable ({said})"
