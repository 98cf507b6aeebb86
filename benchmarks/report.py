"""Formats the benchmark's results as tables and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.accounting import PARTS, TARGET, Account, compare
from calls.outcome import Spread, spread

PART_NAMES: Final[Mapping[str, str]] = {
    "vad_s": "the VAD is sure",
    "transcript_s": "final transcript",
    "decision_s": "turn decided",
    "llm_s": "first word of the model",
    "tts_s": "first synthesised audio",
    "transport_s": "first audible sample",
}


def show(
    console: Console,
    ours: Sequence[Account],
    theirs: Sequence[Account],
    *,
    aside: Counter[str],
    beside: str = "bare Pipecat",
) -> None:
    """Print how the time of the answers is split, and our own part of it."""
    console.print(_parts_table(ours, theirs, beside))
    console.print(_others_table(ours, theirs, beside))
    found = compare(ours, theirs)
    console.print(f"own overhead  Holdline {_in_ms(found.ours)}   {beside} {_in_ms(found.theirs)}")
    unwaited = [_in_ms(spread([turn.unwaited_s for turn in turns])) for turns in (ours, theirs)]
    console.print(f"  without waiting for further words: {unwaited[0]}   {beside} {unwaited[1]}")
    console.print(f"ratio of the medians {found.ratio:.2f}")
    console.print(f"Holdline minus {beside}, pair by pair: {_in_ms(found.difference)}")
    first = [spread([turn.v2v_s for turn in turns]) for turns in (ours, theirs)]
    p50, p95 = (getattr(first[0], at) / getattr(first[1], at) for at in ("p50_s", "p95_s"))
    console.print(f"first word, Holdline's divided by {beside}'s: p50 {p50:.2f}, p95 {p95:.2f}")
    console.print(f"turns set aside: {sum(aside.values())}")
    for reason, count in aside.most_common():
        console.print(f"  {count} x {reason}")
    verdict = "met" if found.within_target else "MISSED"
    console.print(f"target {_in_ms(TARGET)}: {verdict}")


def as_json(
    ours: Sequence[Account], theirs: Sequence[Account], *, aside: Counter[str]
) -> dict[str, Any]:
    """Return all results, turn by turn, in seconds."""
    return {
        "comparison": asdict(compare(ours, theirs)),
        "set_aside": dict(aside),
        "holdline": [_turn_fields(account) for account in ours],
        "bare_pipecat": [_turn_fields(account) for account in theirs],
    }


def within_target(ours: Sequence[Account], theirs: Sequence[Account]) -> bool:
    """Return whether our overhead is within its target."""
    return compare(ours, theirs).within_target


def _turn_fields(account: Account) -> dict[str, Any]:
    return {**asdict(account), "own_s": account.own_s}


def _parts_table(ours: Sequence[Account], theirs: Sequence[Account], beside: str) -> Table:
    table = Table(title=f"{len(ours)} healthy turns a side, ms: p50 / p95")
    table.add_column("until")
    for side in ("Holdline", beside):
        table.add_column(side, justify="right")
        table.add_column("of which own", justify="right")
    for part in PARTS:
        cells = [
            _in_ms(spread([values[part] for values in side]))
            for turns in (ours, theirs)
            for side in ([turn.parts for turn in turns], [turn.own for turn in turns])
        ]
        table.add_row(PART_NAMES[part], *cells)
    table.add_section()
    totals = [
        _in_ms(spread(values))
        for turns in (ours, theirs)
        for values in ([turn.v2v_s for turn in turns], [turn.own_s for turn in turns])
    ]
    table.add_row("v2v", *totals)
    return table


def _others_table(ours: Sequence[Account], theirs: Sequence[Account], beside: str) -> Table:
    table = Table(title="what others were busy with, ms: p50 / p95")
    table.add_column("part")
    table.add_column("Holdline", justify="right")
    table.add_column(beside, justify="right")
    parts = dict.fromkeys(part for turn in (*ours, *theirs) for part in turn.others)
    for part in parts:  # an answer that began early may not have waited for the turn detector
        spreads = [spread([turn.others.get(part, 0.0) for turn in side]) for side in (ours, theirs)]
        table.add_row(part, *map(_in_ms, spreads))
    return table


def _in_ms(found: Spread) -> str:
    return f"{found.p50_s * 1000:.1f} / {found.p95_s * 1000:.1f}"
