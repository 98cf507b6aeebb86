"""`holdline serve`: what is run behind its port, and how it is read anew."""

import secrets
import tempfile
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
from bot.programs.notices import tell_ready
from bot.server.ready_line import ready_line
from bot.tools.own_modules import find_own_modules
from bot.workers.listener import listening_socket
from bot.workers.meter import processes
from bot.workers.slots import Reread
from bot.workers.supervisor import run_supervisor
from bot.workers.worker_process import WorkerOrder


class ServePlan:
    """The configuration as it was last found good.

    Workers read a copy of it: one that takes the place of a lost one, at whatever hour, must not
    find in the file what nobody has judged yet.
    """

    def __init__(
        self, config: Path | None, flags: Mapping[str, Any], loaded: Loaded, *, folder: Path
    ) -> None:
        """Plan from the command's arguments and what was read; workers share `folder`."""
        self._config = config or loaded.file  # a file that is gone is no word for the default
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
        """How many workers there are to be."""
        return processes(self.settings)

    def order(self, number: int) -> WorkerOrder:
        """Return what a new worker is told."""
        self._kept.mend()
        return WorkerOrder(
            number=number,
            workers=self.wanted,
            pool=self._id,
            config=str(self._kept.file),
            flags=dict(self._flags),
            board=f"sqlite:///{self._folder}/health.db",
            metrics=str(self._metrics),
        )

    def renew(self) -> Reread:
        """Read the configuration anew; with problems, which were said, nothing changed."""
        try:
            loaded = load(self._config, flags=self._flags)
            check_folders(loaded)
            kept = self._keep(loaded)
        except ConfigError as wrong:
            for problem in wrong.problems:
                logger.error("the configuration is wrong, so nothing changes: {}", problem.line)
            return Reread(problems=tuple(problem.line for problem in wrong.problems))
        old, new = self.settings.server, loaded.settings.server
        if (old.host, old.port) != (new.host, new.port):
            logger.warning(
                "server.host and server.port change only when the server is started anew"
            )
        changed = changed_keys(self.settings, loaded.settings)
        find_own_modules(loaded)
        self._before = self.settings, self._kept
        self.settings, self._kept = loaded.settings, kept
        return Reread(changed=changed)

    def restore(self) -> None:
        """Go by the configuration before the last one again."""
        self.settings, self._kept = self._before

    def _keep(self, loaded: Loaded) -> "_KeptText":
        """Write down what was judged; a secret never stands in it."""
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
        """Write it, whole or not at all."""
        part = self.file.with_suffix(".part")
        part.write_text(self.text, encoding="utf-8")
        part.replace(self.file)

    def mend(self) -> None:
        """Write it again after systemd-tmpfiles or its like, for which ten days are old."""
        if self.file.exists():
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.write()
        except OSError as full:  # the next worker may find room; nobody else may end for it
            logger.error("{} is gone and cannot be written: {}", self.file, full.strerror)


def serve_with_workers(config: Path | None, flags: Mapping[str, Any], loaded: Loaded) -> int:
    """Answer calls in processes of their own until told to stop; return the exit code."""
    server = loaded.settings.server
    listener = listening_socket(server.host, server.port)
    port = listener.getsockname()[1]
    with listener, tempfile.TemporaryDirectory(prefix="holdline-") as folder:
        plan = ServePlan(config, flags, loaded, folder=Path(folder))

        def ready() -> None:
            print(ready_line(plan.settings, port=port), flush=True)  # noqa: T201 - for the terminal
            tell_ready()

        return run_supervisor(plan, listener, ready)
