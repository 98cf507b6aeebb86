"""Tries the places where calls will leave something, before the first call does."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bot.config import storage as config_storage
from bot.config.checks import is_loopback
from bot.config.errors import ConfigError, Key, Problem, dotted, shown
from bot.config.loading import Loaded
from bot.config.settings import ServerSettings
from bot.config.share_address import masked
from bot.exits import UsageError


def why_exposed(server: ServerSettings) -> str:
    """Say, behind the name of HOLDLINE_TOKEN, why it should be set; empty: it is, or need not be.

    A proxy that says for whom it asks is refused (`bot/server/access.py`); not each of them does.
    """
    if server.token or is_loopback(urlsplit(server.public_url).hostname or ""):
        return ""
    return (
        f"is not set, and server.public_url is {shown(server.public_url)}: a proxy in front may "
        "open the console and the API to everybody; set it in the environment or .env"
    )


OTHERS: Final = 0o077  # what nobody but the owner may do with files that we make


def keep_private() -> None:
    """Have what this process writes be its owner's: records hold what callers said."""
    os.umask(OTHERS)


def check_folders(loaded: Loaded) -> None:
    """Make the folders that are missing, and see that all of them can be written.

    Raises:
        ConfigError: One cannot be; it holds a line for each.
    """
    if problems := list(_problems(loaded)):
        raise ConfigError(problems)


def check_out(out: Path) -> None:
    """See that the folder given with `--out` can be written.

    Raises:
        UsageError: It cannot be.
    """
    if why := why_unwritable(out):
        raise UsageError(
            f"--out is {shown(str(out))}; it cannot be written ({why}); choose a folder that can be"
        )


def check_database(url: str) -> None:
    """See that a database which is to be read is there, before an empty one is made in its place.

    Raises:
        UsageError: Its file is not.
    """
    file = config_storage.file_of(url)
    if file and not file.exists():
        raise UsageError(
            f"storage.url is {masked(url)}; there is no such database; "
            "name the one that `holdline serve` writes, with --config or in the environment, "
            "or make one with `holdline db upgrade`"
        )


def why_unwritable(folder: Path) -> str | None:
    """Return why a folder cannot be written; None: it can be, and is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except FileExistsError:
        return "it is no folder"
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:  # a null in it, which YAML can write
        return str(error)


def _problems(loaded: Loaded) -> Iterator[Problem]:
    for key, folder in _folders(loaded):
        if why := why_unwritable(folder):
            held = shown(str(loaded.layers.at(key)))
            text = f"{dotted(key)} is {held}; it cannot be written ({why})"
            cure = "choose a place that can be"
            yield Problem(where=loaded.layers.where(key), text=f"{text}; {cure}", key=key)


def _folders(loaded: Loaded) -> Iterator[tuple[Key, Path]]:
    settings = loaded.settings
    yield ("logs", "dir"), settings.logs.dir
    if settings.hold.clips_dir:
        yield ("hold", "clips_dir"), settings.hold.clips_dir
    if file := config_storage.file_of(settings.storage.url):
        yield ("storage", "url"), file.parent
