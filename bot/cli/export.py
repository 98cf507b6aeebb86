"""`holdline export`: writes calls, turns or failures to a file."""

import asyncio
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bot.cli.options import ConfigOption, settings_here
from configuration.errors import shown
from configuration.folders import check_database, why_unwritable
from runtime import clock
from runtime.exits import CommandError, UsageError

KINDS = "calls, turns or failures"

SinceOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--since",
        metavar="D",
        help="How far back to go: 90m, 24h, 7d, 2w, or a date: 2026-03-01.",
    ),
]


def export_record(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"{KINDS}.")],
    since: SinceOption = "7d",
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="csv or jsonl.")] = "csv",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: WHAT.csv or WHAT.jsonl.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write calls, turns or failures to a file."""
    settings = settings_here(config)
    from operations.database.database import StorageError  # noqa: PLC0415
    from operations.record.exporting import (  # noqa: PLC0415 - SQLAlchemy loads slowly
        COLUMNS,
        FORMATS,
        export,
        since_of,
    )

    since_time = since_of(since, now=clock.utc_now())
    if what not in COLUMNS:
        raise UsageError(f'export takes {KINDS}, not "{what}"')
    if form not in FORMATS:
        raise UsageError(f'--format is "{form}"; it takes {" or ".join(FORMATS)}')
    if since_time is None:
        raise UsageError(f'--since is "{since}"; it takes 90m, 24h, 7d, 2w, or a date: 2026-03-01')
    file = out or Path(f"{what}.{form}")
    _check_out(file, example=f"{what}.{form}")
    check_database(settings.storage.url)
    try:
        count = asyncio.run(
            export(settings.storage.url, what, since=since_time, form=form, out=file)
        )
    except StorageError as error:
        raise CommandError(f"the database does not answer: {error}") from error
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}") from error
    typer.echo(f"{file}: {count} {what}")


def _check_out(file: Path, *, example: str) -> None:
    value = f"--out is {shown(str(file))}"
    if not file.name or file.is_dir():
        raise UsageError(f"{value}; it takes a file such as {example}")
    if why := why_unwritable(file.parent):
        raise UsageError(f"{value}; it cannot be written ({why}); choose another file")
