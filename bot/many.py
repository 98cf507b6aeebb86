"""`holdline serve` with several workers: what is run, and how it is read anew."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loguru import logger

from bot.config.errors import ConfigError
from bot.config.folders import check_folders
from bot.config.loading import load
from bot.config.settings import Settings
from bot.house.cores import processes
from bot.house.crew import WorkerOrder
from bot.house.listener import bind_socket
from bot.house.supervisor import run_supervisor
from bot.ready_line import ready_line


class ServePlan:
    """The configuration as it was last found good."""

    def __init__(self, config: Path | None, flags: Mapping[str, Any], settings: Settings) -> None:
        """Take what the command was given, and what was read."""
        self.settings = settings
        self.board = ""
        self.metrics = ""
        self._config = config
        self._flags = flags

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return processes(self.settings)

    def order(self, number: int) -> WorkerOrder:
        """Return what a new worker is told."""
        return WorkerOrder(
            number=number,
            workers=self.wanted,
            config=str(self._config) if self._config else None,
            flags=dict(self._flags),
            board=self.board,
            metrics=self.metrics,
        )

    def renew(self) -> bool:
        """Read the configuration anew; False: it is wrong, which was said, and nothing changed."""
        try:
            loaded = load(self._config, flags=self._flags)
            check_folders(loaded)
        except ConfigError as wrong:
            for each in wrong.problems:
                logger.error("the configuration is wrong, so nothing changes: {}", each.line)
            return False
        old, new = self.settings.server, loaded.settings.server
        if (old.host, old.port) != (new.host, new.port):
            logger.warning(
                "server.host and server.port change only when the server is started anew"
            )
        self.settings = loaded.settings
        return True


def serve_with_workers(plan: ServePlan) -> int:
    """Answer calls in several processes until told to stop; return the exit code."""
    server = plan.settings.server
    listener = bind_socket(server.host, server.port)
    port = listener.getsockname()[1]

    def ready() -> None:
        print(ready_line(plan.settings, port=port), flush=True)  # noqa: T201 - for the terminal

    with listener, tempfile.TemporaryDirectory(prefix="holdline-") as folder:
        plan.board = f"sqlite:///{folder}/health.db"
        plan.metrics = f"{folder}/metrics"
        Path(plan.metrics).mkdir()
        return run_supervisor(plan, listener, ready)
