"""Metrics of workers in preallocated files: a full disk ends no call."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.programs.worker import _count_together
from operations.telemetry.meter_files import FILE_BYTES, take_room

PID = 4711
COUNTS = """
import os, sys
os.getpid = lambda: int(sys.argv[2])
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from prometheus_client import CollectorRegistry
from operations.telemetry.meters import Meters
for meter in vars(Meters(CollectorRegistry())).values():
    if names := getattr(meter, "_labelnames", ()):
        meter.labels(*names)
"""


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_counts_are_written_to_preallocated_space(tmp_path: Path) -> None:
    assert take_room(tmp_path, PID)
    taken = sizes(tmp_path)
    files = [tmp_path / f"{kind}_{PID}.db" for kind in FILE_BYTES]
    assert all(file.stat().st_blocks * 512 >= taken[file.name] for file in files)

    command = [sys.executable, "-c", COUNTS, tmp_path, str(PID)]
    subprocess.run(command, check=True, timeout=60)  # noqa: S603 - our own words

    assert sizes(tmp_path) == taken  # no other file, and none that has grown
    assert all(any(file.read_bytes()[:4]) for file in files)  # each is in use


def test_without_space_nothing_is_left_behind(tmp_path: Path) -> None:
    with files_of_at_most(100_000):  # the first one finds none, or a later one
        assert not take_room(tmp_path, PID)

    assert sizes(tmp_path) == {}


def test_a_worker_without_space_for_metrics_works_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with files_of_at_most(0):
        _count_together(tmp_path)

    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to grow any file, as a full disk does."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
