"""`holdline forget NUMBER`: erases all data about a number."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.options import ConfigOption, one_number, settings_here
from configuration.folders import check_database
from runtime.exits import CommandError

if TYPE_CHECKING:
    from operations.record.forgetting import Forgotten


def erase_caller(
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="+49301234567, or as dialled in server.region.")
    ],
    config: ConfigOption = None,
    gone: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A machine that exists no more, with its disk."),
    ] = None,
) -> None:
    """Erase all data about a caller's number.

    Erases calls and what was said in them, recordings, messages, callback requests and contacts.
    The server may be running. Other machines with the same database delete their files, too; the
    command fails and names them until they have.
    """
    settings = settings_here(config)
    from operations.database.database import StorageError  # noqa: PLC0415
    from operations.record.forgetting import forget_number  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    wanted = one_number(number, region=settings.server.region)
    check_database(settings.storage.url)
    try:
        forgotten = asyncio.run(forget_number(settings, wanted, gone=gone or ()))
    except StorageError as error:
        raise CommandError(f"the database failed: {error}") from error
    for what, count in sorted(forgotten.counts.items()):
        typer.echo(f"{what}: {count}")
    if problems := list(_problems_and_cures(forgotten)):
        raise CommandError("; ".join(problems))


def _problems_and_cures(forgotten: "Forgotten") -> Iterator[str]:
    """Yield what could not be erased, and what to do."""
    if forgotten.machines:
        names = ", ".join(f"{name} ({why})" for name, why in forgotten.machines.items())
        yield (
            f"files may remain on other machines: {names}; each deletes them once it runs again."
            " Run this again to check, with --gone NAME for a machine that exists no more"
        )
    if forgotten.left:
        files = ", ".join(f"{path} ({why})" for path, why in forgotten.left.items())
        yield f"could not delete {files}; their calls are kept too; fix this and run it again"
    if forgotten.live:
        yield (
            f"{forgotten.live} of its calls are in progress, or ended just now; "
            "run it again some minutes after their end"
        )
