"""The log in a file, as a process writes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from operations.telemetry import logs


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Set up the log as a server does; return its file."""
    logs.set_up(level="INFO", folder=tmp_path)
    yield tmp_path / "holdline.log"
    logger.remove()


def lines_in(file: Path) -> list[str]:
    """Return the lines written so far."""
    logs.flush()
    return file.read_text(encoding="utf-8").splitlines()
