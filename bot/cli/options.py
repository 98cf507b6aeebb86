"""Options shared by several commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from configuration.errors import ConfigError
from configuration.loading import Loaded, load
from configuration.running_demo import running_demo
from configuration.sections import near_address
from configuration.settings import Settings
from runtime.exits import UsageError

OWN_WORDS_ALONE: Final = "CRITICAL"  # the log level of commands that print problems themselves

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration; default: holdline.yaml, or else the built-in one.",
    ),
]
FaultsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--faults", metavar="SCHEDULE", help="What the fault lab breaks, and when."),
]


def joined_with_or(words: Sequence[str]) -> str:
    """Return at least two words as `one, another or a third`."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def settings_here(config: Path | None) -> Settings:
    """Return the settings of a command that asks a running server or reads its database.

    If nothing is configured, these are the settings of the demo that runs in this folder, and a
    line on stderr says so.

    Raises:
        ConfigError: With all problems of the configuration.
    """
    loaded = load(config, keys=False)
    demo = running_demo()
    if demo is None or _is_own(loaded):
        return loaded.settings
    at = near_address(demo["server.host"], demo["server.port"])
    typer.echo(f"no keys are set: using the demo at {at}", err=True)
    return load(keys=False, flags=demo).settings


def _is_own(loaded: Loaded) -> bool:
    """Return whether the user has configured a server: by a file, a setting, or all the keys."""
    if loaded.file or loaded.layers.changed("server", "storage"):
        return True
    try:
        load()
    except ConfigError:
        return False
    return True


def one_number(text: str, *, region: str | None) -> str:
    """Return the number that an argument means, in E.164.

    Raises:
        UsageError: It is not a number, or it is ambiguous; then the message has both readings.
    """
    from contacts.numbers import readings_of  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    readings = readings_of(text, region=region)
    if len(readings) == 1:
        return readings[0]
    if not readings:
        cure = "write it with its country code, such as +49301234567, or set server.region"
        raise UsageError(f'NUMBER is "{text}", which is not a telephone number; {cure}')
    both = " or ".join(readings)
    raise UsageError(f'NUMBER is "{text}", which may be {both}; write the one that you mean')
