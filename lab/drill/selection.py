"""Selects the rows of a drill."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lab.drill.matrix import FULL
from lab.drill.rows import HEALTHY, RECORDED, Row
from runtime.exits import UsageError

SMOKE: Final = (HEALTHY, "llm-5xx", "tts-cut-reset", "stt-dead-capped")
MATRICES: Final = ("full", "smoke")


def chosen(
    matrix: str, only: Sequence[str], *, healthy_known: bool = False, for_bots: bool = False
) -> tuple[Row, ...]:
    """Return the rows to run, the healthy one first, because others are compared with it.

    Args:
        matrix: `full`, or `smoke`: a few rows, one run of each.
        only: The names of the wanted rows; empty for the whole matrix.
        healthy_known: Whether healthy runs already exist, so that `only` need not include them.
        for_bots: Whether any Pipecat bot is measured: without the rows that break parts of our
            own server, and without the targets that need its record.

    Raises:
        UsageError: An unknown matrix or row, or a row that bots cannot play.
    """
    if matrix not in MATRICES:
        raise UsageError(f"--matrix is {matrix!r}; it takes {', '.join(MATRICES)}")
    known = {row.name: row for row in FULL}
    if unknown := [name for name in only if name not in known]:
        raise UsageError(f"--only names {unknown[0]!r}; it takes {', '.join(known)}")
    if for_bots:
        if own := [name for name in only if known[name].ours_alone]:
            raise UsageError(f"--only names {own[0]!r}, which breaks a part of Holdline's server")
        known = {name: _for_bots(row) for name, row in known.items() if not row.ours_alone}
    wanted = only or (SMOKE if matrix == "smoke" else tuple(known))
    reference = () if only and healthy_known else (HEALTHY,)
    names = dict.fromkeys((*reference, *wanted))
    rows = (known[name] for name in names)
    return tuple(replace(row, runs=1) if matrix == "smoke" else row for row in rows)


def _for_bots(row: Row) -> Row:
    targets = (target for target in row.targets if target.measure not in RECORDED)
    return replace(row, targets=tuple(target for target in targets if not target.side))
