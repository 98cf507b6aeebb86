"""Selects the rows of a drill."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lab.drill.matrix import FULL
from lab.drill.rows import HEALTHY, Row
from runtime.exits import UsageError

SMOKE: Final = (HEALTHY, "llm-5xx", "tts-cut-reset", "stt-dead-capped")
MATRICES: Final = ("full", "smoke")


def chosen(matrix: str, only: Sequence[str], *, healthy_known: bool = False) -> tuple[Row, ...]:
    """Return the rows to run, the healthy one first, because others are compared with it.

    Args:
        matrix: `full`, or `smoke`: a few rows, one run of each.
        only: The names of the wanted rows; empty for the whole matrix.
        healthy_known: Whether healthy runs for comparison already exist.

    Raises:
        UsageError: An unknown matrix or row.
    """
    if matrix not in MATRICES:
        raise UsageError(f"--matrix is {matrix!r}; it takes {', '.join(MATRICES)}")
    known = {row.name: row for row in FULL}
    if unknown := [name for name in only if name not in known]:
        raise UsageError(f"--only names {unknown[0]!r}; it takes {', '.join(known)}")
    wanted = only or (SMOKE if matrix == "smoke" else tuple(known))
    reference = () if only and healthy_known else (HEALTHY,)
    names = dict.fromkeys((*reference, *wanted))
    rows = (known[name] for name in names)
    return tuple(replace(row, runs=1) if matrix == "smoke" else row for row in rows)
