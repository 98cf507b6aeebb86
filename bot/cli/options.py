"""The options that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Default: holdline.yaml, else built in."),
]
FaultsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--faults", metavar="SCHEDULE", help="What the fault lab breaks, and when."),
]
