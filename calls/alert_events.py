"""The fact of an alert that ended in another way than by what calls met."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClosed:
    """Nobody has spoken of it for a while, or an operator has said that it is over."""

    stage: str
    rung: str  # empty: the whole stage
    how: str  # unheard, resolved by somebody
    lasted_s: float
