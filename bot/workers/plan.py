"""The configuration that the workers run with, and how it is read again."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from loguru import logger

from bot.config.errors import ConfigError
from bot.config.folders import check_folders
from bot.config.loading import Loaded, load
from bot.config.printing import changed_keys
from bot.tools.own_modules import find_own_modules
from bot.workers.meter import processes
from bot.workers.worker_process import WorkerOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """The result of reading the configuration again."""

    problems: tuple[str, ...] = ()  # one line each; empty if the configuration is valid
    changed: tuple[str, ...] = ()  # the keys that differ


class ServePlan:
    """The last valid configuration.

    Workers read a copy of it: the replacement of a lost worker may start at any time, and must not
    read changes in the file that no reload has checked yet.
    """

    def __init__(
        self, config: Path | None, flags: Mapping[str, Any], loaded: Loaded, *, folder: Path
    ) -> None:
        """Plan from the command's arguments and the loaded file; workers share `folder`."""
        self._config = config or loaded.file  # a missing file does not mean the default
        self._flags = flags
        self._folder = folder
        self._numbers = count(1)
        self._id = secrets.token_hex(8)
        self._metrics = folder / "metrics"
        self._metrics.mkdir()
        find_own_modules(loaded)
        self.settings = loaded.settings
        self._kept = self._keep(loaded)
        self._before = self.settings, self._kept

    @property
    def wanted(self) -> int:
        """How many workers to run."""
        return processes(self.settings)

    def order(self, number: int) -> WorkerOrder:
        """Return the order for a new worker."""
        self._kept.mend()
        return WorkerOrder(
            number=number,
            workers=self.wanted,
            pool_id=self._id,
            config=str(self._kept.file),
            flags=dict(self._flags),
            board=f"sqlite:///{self._folder}/health.db",
            metrics=str(self._metrics),
        )

    def renew(self) -> Reread:
        """Read the configuration again; if it has problems, which are logged, nothing changes."""
        try:
            loaded = load(self._config, flags=self._flags)
            check_folders(loaded)
            kept = self._keep(loaded)
        except ConfigError as wrong:
            for problem in wrong.problems:
                logger.error("the configuration is not reloaded: {}", problem.line)
            return Reread(problems=tuple(problem.line for problem in wrong.problems))
        old, new = self.settings.server, loaded.settings.server
        if (old.host, old.port) != (new.host, new.port):
            logger.warning("changes of server.host and server.port need a restart")
        changed = changed_keys(self.settings, loaded.settings)
        find_own_modules(loaded)
        self._before = self.settings, self._kept
        self.settings, self._kept = loaded.settings, kept
        return Reread(changed=changed)

    def restore(self) -> None:
        """Return to the configuration before the last one."""
        self.settings, self._kept = self._before

    def _keep(self, loaded: Loaded) -> "_KeptText":
        """Save the checked configuration; it contains no secrets."""
        file = self._folder / f"holdline-{next(self._numbers)}.yaml"
        kept = _KeptText(file=file, text=loaded.text)
        kept.write()
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptText:
    """The copy of a configuration that workers read."""

    file: Path
    text: str

    def write(self) -> None:
        """Write the file in one step, so that readers never see a part of it."""
        part = self.file.with_suffix(".part")
        part.write_text(self.text, encoding="utf-8")
        part.replace(self.file)

    def mend(self) -> None:
        """Restore the file if it was removed, as systemd-tmpfiles does after ten days."""
        if self.file.exists():
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.write()
        except OSError as full:  # only this worker fails; the next one may find space
            logger.error("{} is gone and cannot be written: {}", self.file, full.strerror)
