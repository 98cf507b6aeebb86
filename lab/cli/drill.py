"""`holdline drill`: injects faults and judges what the caller heard."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from configuration.folders import check_out
from operations.telemetry import logs
from runtime.exits import CommandError, UsageError

OUT: Final = Path("out/drill")


class DrillCommand(TyperCommand):
    """Adds the available names to the help."""

    def format_epilog(self, ctx: typer.Context, formatter: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - typer's own names for both are private
        """Write the matrices, rows and scenarios."""
        from lab.drill.demonstration import DEMONSTRATIONS  # noqa: PLC0415 - loads Pipecat
        from lab.drill.matrix import FULL  # noqa: PLC0415 - loads the lab's voices
        from lab.drill.selection import MATRICES, chosen  # noqa: PLC0415 - as above

        rows = {name: [row.name for row in chosen(name, ())] for name in MATRICES}
        matrices = [
            (name, f"all {len(FULL)} rows" if len(found) == len(FULL) else ", ".join(found))
            for name, found in rows.items()
        ]
        for title, entries in (
            ("Matrices", matrices),
            ("Rows", [(row.name, row.title) for row in FULL]),
            ("Scenarios", [(name, scenario.title) for name, scenario in DEMONSTRATIONS.items()]),
        ):
            with formatter.section(title):
                formatter.write_dl(entries)


Matrix = Annotated[
    str | None,
    typer.Option(
        "--matrix",
        metavar="NAME",
        show_default="full",
        help="Which rows; smoke: a few rows, once.",
    ),
]
Bot = Annotated[
    str | None,
    typer.Option(
        "--bot",
        metavar="FILE,...",
        help="Measure your own Pipecat bot instead; more files: for comparison.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        show_default="out/drill",
        help="Folder for results and report; with --scenario, for its events.",
    ),
]


def run_drill(
    matrix: Matrix = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="ROW,...", help="Only these rows.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="SIDE", help="stock-pipecat: also measure it."),
    ] = None,
    bot: Bot = None,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, max=8, help="Runs of a row at once.")
    ] = 1,
    out: Out = None,
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", metavar="NAME", help="One demonstration instead."),
    ] = None,
) -> None:
    """Inject faults, and judge what callers heard.

    Runs a fault matrix with real calls against the lab and prints the report.
    """
    logs.set_up(level="WARNING", folder=None)
    if scenario is None:
        if bot and baseline:
            raise UsageError("--bot and --baseline cannot be combined")
        options = {"baseline": baseline, "jobs": jobs, "folder": out or OUT}
        raise typer.Exit(_run_rows(matrix or "full", only, bot, **options))
    if matrix or only or baseline or bot:
        raise UsageError("--scenario cannot be combined with --matrix, --only, --baseline or --bot")
    raise typer.Exit(_play_scenario(scenario, out))


def _listed_names(listed: str | None) -> list[str]:
    return [name.strip() for name in (listed or "").split(",") if name.strip()]


def _run_rows(matrix: str, only: str | None, bot: str | None, **options: Any) -> int:
    """Run the matrix; check the options before anything is written."""
    from lab.drill.drill import Wanted, check_wanted, drill  # noqa: PLC0415 - loads the lab's voices

    if bot is not None and not _listed_names(bot):
        raise UsageError("--bot is empty; give it the file of a Pipecat bot")
    wanted = Wanted(matrix=matrix, only=_listed_names(only), bots=_listed_names(bot), **options)
    check_wanted(wanted)
    check_out(wanted.folder)
    try:
        return asyncio.run(drill(wanted))
    except asyncio.CancelledError:
        raise CommandError("the drill was stopped; its results so far are kept") from None


def _play_scenario(name: str, out: Path | None) -> int:
    from lab.drill.demonstration import demonstrate, scenario_named  # noqa: PLC0415 - loads Pipecat

    scenario = scenario_named(name)
    if out:
        check_out(out)
    return asyncio.run(demonstrate(name, scenario, out=out))
