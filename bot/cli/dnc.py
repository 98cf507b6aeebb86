"""`holdline dnc`: the do-not-call list."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bot.cli.options import ConfigOption, joined_with_or, one_number, settings_here
from configuration.folders import check_database
from runtime.exits import UsageError

ACTIONS = ("list", "add", "remove", "import", "export")
ARGUMENTS = {"add": "NUMBER", "remove": "NUMBER", "import": "FILE"}


WhatArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT",
        show_default=False,
        help="NUMBER or FILE. add, remove: +49301234567, or as dialled in server.region. "
        "import: a CSV file, or one number per line.",
    ),
]
SourceOption: TypeAlias = Annotated[
    str,
    typer.Option("--source", metavar="TEXT", help="add, import: who asked for the entry, and how."),
]
WordsOption: TypeAlias = Annotated[
    str, typer.Option("--words", metavar="TEXT", help="add: the words of the request.")
]
NumbersOption: TypeAlias = Annotated[
    bool, typer.Option("--numbers", help="list: show numbers and words in full.")
]
LimitOption: TypeAlias = Annotated[
    int,
    typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="list: the newest N entries."),
]
OutOption: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="export: the CSV file.")
]


def manage_do_not_call_list(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"{joined_with_or(ACTIONS)}.")],
    what: WhatArgument = None,
    source: SourceOption = "operator",
    words: WordsOption = "",
    numbers: NumbersOption = False,
    limit: LimitOption = 100,
    out: OutOption = Path("do_not_call.csv"),
    config: ConfigOption = None,
) -> int:
    """Show, change, import and export the do-not-call list. The server may be running."""
    settings = settings_here(config)
    if action not in ACTIONS:
        raise UsageError(f'dnc takes {joined_with_or(ACTIONS)}, not "{action}"')
    if (action in ARGUMENTS) != (what is not None):  # it is missing, or it is one too many
        raise UsageError(f"dnc {action} takes {ARGUMENTS.get(action, 'no argument')}")
    url, region, text = settings.storage.url, settings.server.region, what or ""
    number = one_number(text, region=region) if ARGUMENTS.get(action) == "NUMBER" else ""
    if action not in ("add", "import"):  # these may create the database
        check_database(url)
    from bot.do_not_call import entries  # noqa: PLC0415 - SQLAlchemy loads slowly

    match action:
        case "list":
            return entries.list_entries(url, most=limit, numbers=numbers, say=typer.echo)
        case "add":
            return entries.add_entry(url, number, source=source, words=words, say=typer.echo)
        case "remove":
            return entries.remove_entry(url, number, say=typer.echo)
        case "import":
            return entries.import_entries(
                url, Path(text), region=region, source=source, say=typer.echo
            )
        case _:
            return entries.export_entries(url, out, say=typer.echo)
