"""How well the house was while a campaign called: pure, of what the database has kept.

A campaign calls while a dial of it goes on, and in pauses between two dials that are no longer than
`PAUSE_S`: nights and days off are not counted. What breakers and alerts did is the whole house's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from campaigns.store.troubles import OpenSpell
from operations.notify.alert import Alert

PAUSE_S: Final = 900.0  # chosen: longer than the rest behind a busy number
HOUR_S: Final = 3_600.0
UNHEARD: Final = "unheard"  # how an alert ends of which nobody spoke any more: nobody knows when

Span: TypeAlias = tuple[float, float]
"""From one moment to another, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseFigures:
    """What an operator asks of the time in which a campaign called; None: there was none.

    Attributes:
        open_s: Seconds in which a rung's breaker was open in some process, of all rungs together.
        mttr_s: The mean time to recover: of the incidents that began then and are over.
        incidents_open: That began then and are not over.
        alerts: That operators were told of.
        called_s: How long the campaign called.
    """

    open_s: float | None = None
    mttr_s: float | None = None
    incidents_open: int = 0
    alerts: int = 0
    called_s: float = 0.0

    @property
    def alerts_per_hour(self) -> float | None:
        """How many alerts that would be in an hour."""
        return self.alerts * HOUR_S / self.called_s if self.called_s else None


def spans_of(dials: Iterable[Span]) -> Sequence[Span]:
    """Return when a campaign called."""
    return _merged(dials, PAUSE_S)


def house_figures(
    spans: Sequence[Span], spells: Iterable[OpenSpell], alerts: Iterable[Alert]
) -> HouseFigures:
    """Return the figures of the time in which a campaign called."""
    if not spans:
        return HouseFigures()
    began = [each for each in alerts if any(a <= each.began_s <= b for a, b in spans)]
    over = [each.lasted_s for each in began if each.ended_s is not None and each.how != UNHEARD]
    return HouseFigures(
        open_s=open_s(spells, spans),
        mttr_s=sum(over) / len(over) if over else None,
        incidents_open=sum(each.ended_s is None for each in began),
        alerts=sum(each.revision > 0 for each in began),
        called_s=sum(b - a for a, b in spans),
    )


def open_s(spells: Iterable[OpenSpell], spans: Sequence[Span]) -> float:
    """Return for how long breakers were open: several processes at once count once for a rung."""
    rungs: dict[tuple[str, str], list[Span]] = {}
    for each in spells:
        # One that is not over was open for as long as its process gave signs of life.
        ended_s = each.seen_s if each.ended_s is None else each.ended_s
        if ended_s is not None and ended_s > each.began_s:
            rungs.setdefault((each.stage, each.provider), []).append((each.began_s, ended_s))
    return sum(
        max(0.0, min(b, until) - max(a, since))
        for own in rungs.values()
        for a, b in _merged(own, 0.0)
        for since, until in spans
    )


def _merged(spans: Iterable[Span], pause_s: float) -> Sequence[Span]:
    merged: list[Span] = []
    for began_s, ended_s in sorted(spans):
        if merged and began_s <= merged[-1][1] + pause_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended_s))
        else:
            merged.append((began_s, max(began_s, ended_s)))
    return merged
