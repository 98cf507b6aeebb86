"""Finds test files that need not be collected, because none of their tests has the requested marks.

Collecting all four hundred files takes a process about 15 s; the slow, long and peer tests are in a
few of them.
"""

import itertools
import re
from functools import cache
from pathlib import Path

from _pytest.mark.expression import Expression

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"\bmark\.(\w+)")
# Modules from which a file imports constants, decorators or base classes may contribute marks.
SHARED = re.compile(r"^from (tests(?:\.\w+)+) import", re.MULTILINE)
PEERS = ROOT / "tests" / "peers"  # its conftest marks its tests
OPERATORS = {"and", "or", "not", "True", "False"}


def may_hold(file: Path, wanted: str) -> bool:
    """Return whether a test in this file may match `wanted`, the expression of `-m`."""
    named = set(re.findall(r"[a-z]\w*", wanted)) - OPERATORS
    possible = sorted(named & marks_of(file))
    subsets = itertools.chain.from_iterable(
        itertools.combinations(possible, size) for size in range(len(possible) + 1)
    )
    expression = Expression.compile(wanted)
    return any(_holds(expression, frozenset(subset)) for subset in subsets)


def _holds(expression: Expression, marks: frozenset[str]) -> bool:
    return expression.evaluate(lambda name, **_: name in marks)


def marks_of(file: Path) -> frozenset[str]:
    """Return all marks named in the file or in the test modules from which it imports."""
    text = file.read_text(encoding="utf-8")
    shared = (ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in SHARED.findall(text))
    found = _named_in(file).union(*(_named_in(path) for path in shared if path.is_file()))
    return found | {"peers"} if file.is_relative_to(PEERS) else found


@cache
def _named_in(file: Path) -> frozenset[str]:
    return frozenset(MARKED.findall(file.read_text(encoding="utf-8")))
