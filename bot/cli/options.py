"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from bot.exits import UsageError

OWN_WORDS_ALONE: Final = "CRITICAL"  # log level of commands that report problems themselves

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration; default: holdline.yaml, else built in."
    ),
]
FaultsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--faults", metavar="SCHEDULE", help="What the fault lab breaks, and when."),
]


def one_number(text: str, *, region: str | None) -> str:
    """Return the number that an argument means, in E.164.

    Raises:
        UsageError: It is no number, or ambiguous; then with both readings.
    """
    from operations.numbers import readings_of  # noqa: PLC0415 - after the configuration's errors

    readings = readings_of(text, region=region)
    if len(readings) == 1:
        return readings[0]
    if not readings:
        cure = "write it with its country code, such as +49301234567, or set server.region"
        raise UsageError(f'NUMBER is "{text}", which is not a telephone number; {cure}')
    both = " or ".join(readings)
    raise UsageError(f'NUMBER is "{text}", which may be {both}; write the one that you mean')
