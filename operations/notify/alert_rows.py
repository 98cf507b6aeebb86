"""Alerts and what is told of them as rows: plain values, which another version can read, too."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from fallbacks.failure import Severity
from operations.notify.alert import Alert, AlertFact, IncidentLasted

FACTS: Final[Mapping[str, type[Any]]] = {
    each.__name__: each for each in (IncidentBegan, IncidentGrew, IncidentEnded, IncidentLasted)
}
SEVERITIES: Final = ("severity", "told_severity")
TUPLES: Final = ("beside", "loud_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFact:
    """What a process has said of an incident, and when."""

    fact: AlertFact
    at_s: float  # since 1970
    holder: str
    turns: int


def write_fact(fact: AlertFact) -> str:
    """Return a fact as JSON."""
    return json.dumps({"fact": type(fact).__name__, **asdict(fact)})


def read_fact(text: str) -> AlertFact | None:
    """Return what was written; None: we do not understand it."""
    try:
        said = json.loads(text)
        kind = FACTS[said.pop("fact")]
        return kind(**_known(kind, said))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def write_alert(alert: Alert) -> str:
    """Return an alert as JSON."""
    return json.dumps(asdict(alert))


def read_alert(text: str) -> Alert | None:
    """Return what was written; None: we do not understand it."""
    try:
        return Alert(**_known(Alert, json.loads(text)))
    except (AttributeError, TypeError, ValueError):
        return None


def _known(kind: type[Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a class of ours has of it, with the types that JSON does not know."""
    names = {each.name for each in fields(kind)}
    found = {name: value for name, value in said.items() if name in names}
    found |= {name: Severity(found[name]) for name in SEVERITIES if name in found}
    return found | {name: tuple(found[name]) for name in TUPLES if name in found}
