"""What the calls behind one dial come to for its campaign: what they used, whether they were left.

*Abandoned* is a call that the person ended before they had heard one answer of ours: what was said
first, to whoever picks up, is none. Regulators mean by the word what a dialler does to people (47
CFR 64.1200(a)(7): nobody speaks within 2 s of their greeting); that stands among our own faults.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from campaigns.store.dial_calls import DialledCall, DialUse

THEY_WENT: Final = "caller_hung_up"


def uses_of(calls: Iterable[DialledCall]) -> Sequence[DialUse]:
    """Return what is to be known of each dial."""
    ordered = sorted(calls, key=lambda each: each.dial_id)  # stable: the earlier call stays first
    return [_use(dial_id, list(own)) for dial_id, own in groupby(ordered, lambda it: it.dial_id)]


def _use(dial_id: str, calls: Sequence[DialledCall]) -> DialUse:
    costs = [each.cost for each in calls if each.cost is not None]
    return DialUse(
        dial_id=dial_id,
        cost=math.fsum(costs) if len(costs) == len(calls) else None,
        abandoned=calls[-1].reason == THEY_WENT and not any(each.turns for each in calls),
    )
