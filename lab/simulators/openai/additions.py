"""Additions to a model's answer by a fault."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.receptionist.receptionist import Reply

_WHO: Final = ("Anna", "Boris", "Clara", "David", "Emma", "Frank", "Grace", "Henry")
_WHAT: Final = ("cuts", "washes", "dries", "dyes", "combs", "curls", "braids", "trims")
_WHEN: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def with_additions(reply: Reply, fault: Fault | None) -> Reply:
    """Return a text reply with a fault's additions."""
    match fault:
        case faults.Adds(text=text) if reply.text:
            return replace(reply, text=reply.text + text)
        case faults.Endless() if reply.text:
            return replace(reply, text=" ".join((reply.text, *_sentences(fault))))
        case _:
            return reply


def _sentences(fault: faults.Endless) -> Iterator[str]:
    """Yield sentences with the wanted number of words: all equal, or all different."""
    written = 0
    for who, when, what in itertools.cycle(itertools.product(_WHO, _WHEN, _WHAT)):
        if written >= fault.words:
            return
        name, day = (_WHO[0], _WHEN[0]) if fault.same else (who, when)
        sentence = f"On {day} {name} {_WHAT[0] if fault.same else what} hair all day long."
        written += len(sentence.split())
        yield sentence
