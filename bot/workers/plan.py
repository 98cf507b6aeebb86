"""The configuration that the workers run with, and its reloading."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from loguru import logger

from bot.workers.worker_process import WorkerParameters
from configuration.errors import ConfigError
from configuration.folders import check_folders
from configuration.loading import Loaded, load
from configuration.machine import worker_count
from configuration.printing import changed_keys
from operations.telemetry import logs

# The keys of `server` that the supervisor reads only once.
AT_START: Final = ("host", "port", "machine", "store", "agent_check_port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """The result of reloading the configuration."""

    problems: tuple[str, ...] = ()  # one line each; empty if the configuration is valid
    changed: tuple[str, ...] = ()  # the keys that differ


class ServePlan:
    """The configuration in force.

    Workers read a copy of the file: the replacement of a lost worker may start at any time, and
    must not read changes that no reload has checked yet.
    """

    def __init__(
        self, config: Path | None, flags: Mapping[str, Any], loaded: Loaded, *, folder: Path
    ) -> None:
        """Start with a loaded configuration, and write the workers' copy of it.

        Args:
            config: The file named on the command line, if any.
            flags: The other options of the command line, which override the file.
            loaded: The configuration that was loaded from them.
            folder: For the workers' copy of the file, metrics and health board.
        """
        # If this file is removed, a reload must fail instead of using the built-in default.
        self._config = config or loaded.file
        self._flags = flags
        self._folder = folder
        self._numbers = count(1)
        self._id = secrets.token_hex(8)
        self._metrics = folder / "metrics"
        self._metrics.mkdir()
        self.settings = loaded.settings
        self._copy = self._write_copy(loaded)
        self._earlier = self.settings, self._copy

    @property
    def folder(self) -> Path:
        """The folder for the workers' files."""
        return self._folder

    @property
    def workers(self) -> int:
        """How many workers to run."""
        return worker_count(self.settings)

    def parameters(self, number: int) -> WorkerParameters:
        """Return the start parameters of a new worker, and restore its file if that was removed."""
        self._copy.write_if_missing()
        return WorkerParameters(
            number=number,
            workers=self.workers,
            pool_id=self._id,
            config=str(self._copy.file),
            flags=dict(self._flags),
            board=f"sqlite:///{self._folder}/health.db",
            metrics=str(self._metrics),
        )

    def renew(self) -> Reread:
        """Reload the configuration; if it has problems, log them and keep the old one. Blocks."""
        try:
            with logs.kept():  # the module of an owner's service is imported
                loaded = load(self._config, flags=self._flags)
            check_folders(loaded)
            copy = self._write_copy(loaded)
        except ConfigError as wrong:
            for problem in wrong.problems:
                logger.error("the configuration is not reloaded: {}", problem.line)
            return Reread(problems=tuple(problem.line for problem in wrong.problems))
        old, new = self.settings.server, loaded.settings.server
        for key in AT_START:
            if getattr(old, key) != getattr(new, key):
                logger.warning("a change of server.{} needs a restart", key)
        changed = changed_keys(self.settings, loaded.settings)
        self._earlier = self.settings, self._copy
        self.settings, self._copy = loaded.settings, copy
        return Reread(changed=changed)

    def restore(self) -> None:
        """Go back to the configuration before the last reload."""
        self.settings, self._copy = self._earlier

    def _write_copy(self, loaded: Loaded) -> "_ConfigCopy":
        """Save the text of a valid configuration file, which contains no secrets."""
        file = self._folder / f"holdline-{next(self._numbers)}.yaml"
        copy = _ConfigCopy(file=file, text=loaded.text)
        copy.write()
        return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class _ConfigCopy:
    """The copy of the configuration file that workers read."""

    file: Path
    text: str

    def write(self) -> None:
        """Write the file atomically, so that readers never see half of it."""
        part = self.file.with_suffix(".part")
        part.write_text(self.text, encoding="utf-8")
        part.replace(self.file)

    def write_if_missing(self) -> None:
        """Write the file again if it was removed, as systemd-tmpfiles does after ten days."""
        if self.file.exists():
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.write()
        except OSError as full:  # only one worker cannot start; later there may be space again
            logger.error("{} is gone and cannot be written: {}", self.file, full.strerror)
