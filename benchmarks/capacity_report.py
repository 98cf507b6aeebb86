"""Writes the results of `capacity.py` as a table, a verdict and a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from benchmarks.figures import BUDGET_S, LoadRun, most_calls, reach, seconds
from lab.drill.servers import OURS, STOCK

TARGET: Final = (2, 10)  # cores, and calls to hold on them next to callers and simulators
REACHED: Final = (1, 2, 4, 8, 16)  # cores that the page reports on
COLUMNS: Final = (
    "calls",
    "side",
    "workers",
    "cores a call",
    "first word p50",
    "p95",
    f"within {BUDGET_S:g} s",
    "not whole",
    "torn",
    "slowest greeting",
    "refused",
    "memory MB",
    "requests a turn",
    "cores: server",
    "simulators",
    "callers",
    "others",
    "callers late",
    "simulators late",
)


def cells(run: LoadRun) -> tuple[str, ...]:
    """Return a run as the cells of a row."""
    found = run.figures
    if run.error and not run.shares:
        return (str(run.calls), run.side, run.workers or "-", run.error, *[""] * (len(COLUMNS) - 4))
    return (
        str(run.calls),
        run.side,
        run.workers or "-",
        f"{run.cores_a_call:.3f}",
        seconds(found.first_word_p50_s),
        seconds(found.first_word_p95_s),
        f"{found.in_budget:.0%}",
        f"{found.not_whole} of {found.turns}",
        str(found.torn),
        seconds(run.greeting_s),
        str(run.refused),
        f"{run.memory_mb:.0f}",
        f"{run.requests_a_turn:.2f}",
        *(f"{run.shares.get(name, 0.0):.2f}" for name in ("server", "simulators", "callers")),
        f"{run.shares.get('others', 0.0):.2f}",
        f"{run.callers_late_s * 1000:.0f} ms",
        f"{run.simulators_late_s * 1000:.0f} ms",
    )


def table(runs: Sequence[LoadRun]) -> Table:
    """Return all runs as a table for a terminal."""
    found = Table(*COLUMNS)
    for run in ordered(runs):
        found.add_row(*cells(run), style="" if run.holds else "red")
    return found


def ordered(runs: Sequence[LoadRun]) -> list[LoadRun]:
    """Return the runs in an order in which those to be compared follow each other."""
    return sorted(runs, key=lambda run: (run.calls, run.side != STOCK, run.workers))


def best_of_ours(runs: Sequence[LoadRun]) -> LoadRun | None:
    """Return our run with the most calls that held, with several workers if that was measured."""
    kinds = {run.workers for run in runs if run.side == OURS}
    kind = next((name for name in ("auto", "", "1") if name in kinds), "")
    return most_calls(runs, side=OURS, workers=kind)


def met(runs: Sequence[LoadRun]) -> bool:
    """Return whether ours holds the required calls on two cores."""
    best = best_of_ours(runs)
    return best is not None and best.calls >= TARGET[1]


def verdict(runs: Sequence[LoadRun], *, cores: int) -> str:
    """Return one line: how many calls each side holds, and whether that is enough."""
    ours, stock = best_of_ours(runs), most_calls(runs, side=STOCK, workers="")
    kind = f"workers {ours.workers}" if ours and ours.workers else "one process"
    text = f"on {cores} cores, callers and simulators on the same, {kind}: "
    text += f"{ours.calls if ours else 0} calls with p95 within {BUDGET_S:g} s and every turn whole"
    if any(run.side == STOCK for run in runs):
        text += f" (stock: {stock.calls if stock else 0})"
    if cores != TARGET[0]:
        return f"{text}; the target is for {TARGET[0]} cores"
    most = max((run.calls for run in runs if run.side == OURS), default=0)
    if not met(runs) and most < TARGET[1] and ours and ours.calls == most:
        return f"{text}; no more were tried, the target is {TARGET[1]}"
    return f"{text}; target {TARGET[1]}: {'met' if met(runs) else 'MISSED'}"


def arithmetic(runs: Sequence[LoadRun], *, cores: int) -> str:
    """Return a text on how many calls other machines would hold, derived from the runs."""
    best = best_of_ours(runs)
    if best is None:
        return "No number of calls was held, so nothing can be said of other machines."
    busy = sum(best.shares.values())
    outside = busy - best.shares.get("server", 0.0)
    kept = ", ".join(f"{reach(best, cores=n, machine_cores=cores)} on {n}" for n in REACHED)
    return (
        f"At {best.calls} calls, the most that were held, {busy:.2f} of {cores} cores were busy "
        f"({busy / cores:.0%}): {best.shares.get('server', 0.0):.2f} with the server and "
        f"{outside:.2f} with callers, simulators and whatever else ran, which a machine that only "
        f"answers calls does not have. One call takes {best.cores_a_call:.3f} cores. If the same "
        f"share of a machine may be busy before answers are late, and there is a worker for each "
        f"core, n cores carry n x {min(1.0, busy / cores):.2f} / {best.cores_a_call:.3f} calls: "
        f"{kept}. One process alone uses one core, however many there are."
    )


def page(runs: Sequence[LoadRun], *, known: Mapping[str, Any], cores: int) -> str:
    """Return the report.

    Args:
        runs: All runs, including those that missed.
        known: The circumstances: `machine`, `commit`, `began`, `options`.
        cores: The number of the machine's cores.
    """
    return "\n".join(_lines(runs, known=known, cores=cores)) + "\n"


def _lines(runs: Sequence[LoadRun], *, known: Mapping[str, Any], cores: int) -> Iterator[str]:
    yield "# How many calls a machine carries"
    yield ""
    yield (
        "Written by `benchmarks/capacity.py`; how it measures stands in "
        "[benchmarks/README.md](../benchmarks/README.md)."
    )
    yield ""
    yield f"- Machine: {known['machine']}"
    yield f"- Commit: {known['commit']}"
    yield f"- Began: {known['began']}"
    yield f"- Options: `{known['options']}`"
    yield ""
    yield f"**{verdict(runs, cores=cores)}.**"
    yield ""
    yield arithmetic(runs, cores=cores)
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    for run in ordered(runs):
        mark = "" if run.holds else " ✗"
        row = cells(run)
        yield f"| {row[0]}{mark} | {' | '.join(row[1:])} |"
    yield ""
    yield (
        "Each row is one run of one server, all runs are here; ✗: a caller was refused, answered "
        "late, or not answered word by word. *Cores a call*: the server's processor time for each "
        "second of a call. *Not whole*: words lost or doubled, by what was heard. *Torn*: holes in "
        "words, or a silence of more than 0.2 s between two. *Greeting*: from the ring. *Callers "
        "late*: how late the callers themselves sent, p95 of each second's worst. *Simulators "
        "late*: how much longer than usual the simulated voices took, p95. Where these are much, "
        "the machine was full, "
        "and the measure itself suffered."
    )
