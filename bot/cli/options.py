"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

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
