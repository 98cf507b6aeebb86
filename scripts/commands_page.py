"""Writes the list of commands in `docs/commands.md` from the command line itself."""

import inspect
from pathlib import Path
from typing import cast

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from bot.__main__ import app

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
BEGIN = "<!-- commands: written by scripts/commands_page.py -->\n"
END = "<!-- commands: end -->\n"
HEAD = "| argument | default | meaning |\n| --- | --- | --- |\n"


def reference() -> str:
    """Return a section for each command, in the order of `holdline --help`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)  # noqa: S101 - an app with several commands is a group
    return "\n".join(_section(cast(TyperCommand, item)) for item in group.commands.values())


def _section(command: TyperCommand) -> str:
    parameters = [item for item in command.params if isinstance(item, (TyperOption, TyperArgument))]
    usage = " ".join((f"holdline {command.name}", *map(_usage, parameters)))
    text = inspect.cleandoc(command.help or "")
    return f"## {command.name}\n\n`{usage}`\n\n{text}\n\n{HEAD}" + "".join(map(_row, parameters))


def _usage(parameter: TyperOption | TyperArgument) -> str:
    typed = _typed(parameter) + ("..." if parameter.nargs == -1 else "")
    return typed if parameter.required else f"[{typed}]"


def _typed(parameter: TyperOption | TyperArgument) -> str:
    """Return how a parameter is typed: `FILE`, `--plain` or `--out DIR`."""
    metavar = str(parameter.metavar)
    if isinstance(parameter, TyperArgument):
        return metavar
    return parameter.opts[0] if parameter.is_flag else f"{parameter.opts[0]} {metavar}"


def _row(parameter: TyperOption | TyperArgument) -> str:
    return f"| `{_typed(parameter)}` | {_default(parameter)} | {parameter.help or ''} |\n"


def _default(parameter: TyperOption | TyperArgument) -> str:
    if parameter.required:
        return "required"
    shown = parameter.show_default
    value = shown if isinstance(shown, str) else parameter.default
    return "" if value is None or value is False else f"`{value}`"


def renew(text: str) -> str:
    """Return the page with the current commands."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{reference()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
