"""Checks the folders and files that calls will write, before the first call."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from configuration.database_urls import file_of, mask_password
from configuration.errors import ConfigError, Key, Problem, dotted, shown
from configuration.loading import Loaded
from configuration.settings import ServerSettings
from runtime.exits import UsageError
from runtime.hosts import is_loopback


def why_exposed(server: ServerSettings) -> str:
    """Return why HOLDLINE_TOKEN must be set, as the end of a sentence; empty if it need not be.

    Requests through a proxy that names its client are refused (`bot/server/access.py`), but not
    every proxy does so.
    """
    if server.token or is_loopback(urlsplit(server.public_url).hostname or ""):
        return ""
    return (
        f"is not set, and server.public_url is {shown(server.public_url)}: a proxy in front could "
        "open the console and the API to everyone; set it in the environment or .env"
    )


OTHERS_PERMISSIONS: Final = 0o077  # permissions removed from new files for everyone but the owner


def keep_private() -> None:
    """Let only their owner read the files that this process creates from now on.

    Records hold what callers said. Its child processes inherit this.
    """
    os.umask(OTHERS_PERMISSIONS)


def check_folders(loaded: Loaded) -> None:
    """Create missing folders, and check that all of them are writable.

    Raises:
        ConfigError: With a line for each folder that is not writable.
    """
    if problems := list(_unwritable_folder_problems(loaded)):
        raise ConfigError(problems)


def check_out(out: Path) -> None:
    """Check that the folder given with `--out` is writable.

    Raises:
        UsageError: It is not.
    """
    if why := why_unwritable(out):
        raise UsageError(
            f"--out is {shown(str(out))}; it cannot be written ({why}); choose another folder"
        )


def check_database(url: str) -> None:
    """Check that an SQLite database exists before it is read, so that no empty one is created.

    Raises:
        UsageError: Its file does not exist.
    """
    file = file_of(url)
    if file and not file.exists():
        raise UsageError(
            f"storage.url is {mask_password(url)}; there is no such database; "
            "give the one that `holdline serve` writes, with --config or in the environment, "
            "or create one with `holdline db upgrade`"
        )


def why_unwritable(folder: Path) -> str | None:
    """Create a folder if it is missing; return why it is not writable, or `None`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except FileExistsError:
        return "it is not a folder"
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:  # it contains a null character, which YAML allows
        return str(error)


def _unwritable_folder_problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each folder that cannot be written; missing folders are created."""
    for key, folder in _folders_written_to(loaded):
        if why := why_unwritable(folder):
            held = shown(str(loaded.layers.value_at(key)))
            text = f"{dotted(key)} is {held}; it cannot be written ({why})"
            cure = "choose another place"
            yield Problem(where=loaded.layers.where(key), text=f"{text}; {cure}", key=key)


def _folders_written_to(loaded: Loaded) -> Iterator[tuple[Key, Path]]:
    """Yield the folders that calls write to, by key; only SQLite databases have one."""
    settings = loaded.settings
    yield ("logs", "dir"), settings.logs.dir
    if settings.hold.clips_dir:
        yield ("hold", "clips_dir"), settings.hold.clips_dir
    if file := file_of(settings.storage.url):
        yield ("storage", "url"), file.parent
