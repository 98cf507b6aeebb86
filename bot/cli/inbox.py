"""`holdline inbox`: shows the callbacks and messages that callers were promised."""

import asyncio
from typing import Annotated, TypeAlias

import typer

from bot.cli.options import ConfigOption, settings_here
from configuration.folders import check_database
from runtime import clock
from runtime.exits import CommandError, UsageError

ActionArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="ACTION",
        show_default=False,
        help="done: close the entries of a call; reopen: open them again.",
    ),
]


def show_or_change_inbox(
    action: ActionArgument = None,
    call_id: Annotated[
        str | None, typer.Argument(metavar="CALL", show_default=False, help="The call's id.")
    ] = None,
    done: Annotated[
        bool, typer.Option("--done", help="List closed entries instead of open ones.")
    ] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show complete numbers.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show callbacks and messages, or close or reopen them.

    The newest come first. The server may be running.
    """
    if action not in (None, "done", "reopen") or (action is None) != (call_id is None):
        given = " ".join(word for word in (action, call_id) if word)
        raise UsageError(f'inbox takes nothing, "done CALL" or "reopen CALL", not "{given}"')
    if call_id is not None and (done or numbers):
        raise UsageError(
            f"--done and --numbers are for the list: leave them out with {action} CALL"
        )
    settings = settings_here(config)
    from operations.database.database import StorageError  # noqa: PLC0415 - SQLAlchemy loads slowly
    from operations.inbox.store import close_entries, list_entries  # noqa: PLC0415

    check_database(settings.storage.url)
    url, done_at = settings.storage.url, clock.utc_now() if action == "done" else None
    try:
        if call_id is None:
            lines = asyncio.run(list_entries(url, done=done, numbers=numbers))
        else:
            lines = asyncio.run(close_entries(url, call_id, done_at=done_at))
    except StorageError as error:
        raise CommandError(f"the database does not answer: {error}") from error
    if call_id is not None and not lines:
        other = "waits" if action == "done" else "is done"
        raise CommandError(f'nothing of call "{call_id}" {other}; holdline inbox lists the entries')
    for line in lines or ["Nobody waits." if not done else "Nothing is done yet."]:
        typer.echo(line)
