"""Writes the results of `capacity.py` as a table, a verdict and a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from benchmarks.figures import BUDGET_S, TORN_S, LoadRun, most_calls, reach, seconds
from lab.drill.servers import OURS, STOCK

TARGET: Final = (2, 10)  # cores, and calls to hold on them next to callers and simulators
REPORTED_CORES: Final = (1, 2, 4, 8, 16)  # cores that the page reports on
WORKERS: Final = {"": "one process", "1": "one worker", "auto": "the default number of workers"}
COLUMNS: Final = (
    "calls",
    "side",
    "workers",
    "cores per call",
    "first word p50",
    "p95",
    f"within {BUDGET_S:g} s",
    "not whole",
    "torn",
    "slowest greeting",
    "refused",
    "memory MB",
    "requests per turn",
    "cores: server",
    "simulators",
    "callers",
    "others",
    "callers late",
    "simulators late",
)
LEGEND: Final = (
    "Each row is one run of one server; the table has all runs. ✗ marks a run that failed: a "
    f"caller was refused, p95 was over {BUDGET_S:g} s, or words were lost or doubled. *Side*: the "
    "server, Holdline or stock Pipecat with its own failover. *Workers*: Holdline's processes that "
    "answer calls; `auto`: the default, one per core, at least two; `-`: the server has no such "
    "option. *Cores per call*: the server's processor time per second of a call. *First word*: "
    f"from the end of the question, p50 and p95; *within {BUDGET_S:g} s*: the share of all turns. "
    "*Not whole*: turns with words lost, doubled or out of place in the recording. *Torn*: turns "
    f"with gaps inside words, or unexpected silence of over {TORN_S:g} s: "
    "audio that was late, not lost. *Slowest greeting*: from the ring. *Cores*: how many cores the "
    "server, the simulators, the callers and all other processes kept busy. *Callers late*: how "
    "late the callers sent their audio: p95 of the worst delay in each second. *Simulators late*: "
    "how much longer than usual the simulated voices took until their first sound, p95. Where "
    "these values are high, the machine was saturated and the measurement is unreliable."
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
    for run in sort_runs(runs):
        found.add_row(*cells(run), style="" if run.holds else "red")
    return found


def sort_runs(runs: Sequence[LoadRun]) -> list[LoadRun]:
    """Return the runs sorted by number of calls, stock Pipecat first in each group."""
    return sorted(runs, key=lambda run: (run.calls, run.side != STOCK, run.workers))


def best_of_ours(runs: Sequence[LoadRun]) -> LoadRun | None:
    """Return our largest run that passed, with the default workers if measured, or `None`."""
    kinds = {run.workers for run in runs if run.side == OURS}
    kind = next((name for name in ("auto", "", "1") if name in kinds), "")
    return most_calls(runs, side=OURS, workers=kind)


def met(runs: Sequence[LoadRun]) -> bool:
    """Return whether ours passed with the required number of calls; callers check the cores."""
    best = best_of_ours(runs)
    return best is not None and best.calls >= TARGET[1]


def verdict(runs: Sequence[LoadRun], *, cores: int) -> str:
    """Return one line: how many calls each side holds, and whether ours meets the target."""
    ours, stock = best_of_ours(runs), most_calls(runs, side=STOCK, workers="")
    kind = WORKERS.get(ours.workers, f"{ours.workers} workers") if ours else "one process"
    text = f"On {cores} cores, shared with callers and simulators, with {kind}: "
    text += f"{ours.calls if ours else 0} calls with p95 within {BUDGET_S:g} s "
    text += "and no word lost or doubled"
    if any(run.side == STOCK for run in runs):
        text += f" (stock Pipecat: {stock.calls if stock else 0})"
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
        return "No number of calls passed, so nothing can be said about other machines."
    busy = sum(best.shares.values())
    outside = busy - best.shares.get("server", 0.0)
    kept = ", ".join(f"{reach(best, cores=n, machine_cores=cores)} on {n}" for n in REPORTED_CORES)
    return (
        f"At {best.calls} calls, the highest number that passed, {busy:.2f} of {cores} cores were "
        f"busy ({busy / cores:.0%}): {best.shares.get('server', 0.0):.2f} by the server and "
        f"{outside:.2f} by callers, simulators and other processes, which would not run on a "
        f"production machine. One call takes {best.cores_a_call:.3f} cores. If the same share of "
        f"a machine may be busy before answers are late, and each core has a worker, n cores "
        f"carry n x {min(1.0, busy / cores):.2f} / {best.cores_a_call:.3f} calls: {kept}. A single "
        f"process uses only one core."
    )


def page(runs: Sequence[LoadRun], *, circumstances: Mapping[str, Any], cores: int) -> str:
    """Return the report.

    Args:
        runs: All runs, including those that missed.
        circumstances: `machine`, `commit`, `began`, `options`.
        cores: The number of the machine's cores.
    """
    return "\n".join(_report_lines(runs, circumstances, cores=cores)) + "\n"


def _report_lines(
    runs: Sequence[LoadRun], circumstances: Mapping[str, Any], *, cores: int
) -> Iterator[str]:
    yield "# How many calls a machine carries"
    yield ""
    yield (
        "Written by `benchmarks/capacity.py`; the method is described in "
        "[benchmarks/README.md](../benchmarks/README.md)."
    )
    yield ""
    yield f"- Machine: {circumstances['machine']}"
    yield f"- Commit: {circumstances['commit']}"
    yield f"- Started: {circumstances['began']}"
    yield f"- Options: `{circumstances['options']}`"
    yield ""
    yield f"**{verdict(runs, cores=cores)}.**"
    yield ""
    yield arithmetic(runs, cores=cores)
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    for run in sort_runs(runs):
        mark = "" if run.holds else " ✗"
        row = cells(run)
        yield f"| {row[0]}{mark} | {' | '.join(row[1:])} |"
    yield ""
    yield LEGEND
