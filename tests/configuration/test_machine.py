"""The memory limit of a control group, and the number of workers that fit under it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from configuration import machine
from configuration.machine import (
    MEGABYTE,
    MemoryLimit,
    count_oom_kills,
    killed_for_memory,
    read_limit,
)
from configuration.settings import Settings
from runtime.exits import UsageError
from tests.kit.stages import STAGES

MACHINE = {"meminfo": "MemTotal:  8388608 kB\nMemFree: 1 kB\n"}
NO_LIMIT = "9223372036854771712"


def write(folder: Path, texts: Mapping[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "own", "limit_mb"),
    [
        pytest.param({}, "", 8192, id="no groups: the machine's memory"),
        pytest.param({"memory.max": "536870912\n"}, "0::/", 512, id="a container"),
        pytest.param({"memory.max": "max\n"}, "0::/", 8192, id="a container without a limit"),
        pytest.param({"a/b/memory.max": "536870912"}, "0::/a/b", 512, id="a service"),
        pytest.param(
            {"a/memory.max": "536870912", "a/b/memory.max": "max"}, "0::/a/b", 512, id="its slice"
        ),
        pytest.param({"memory.max": "536870912"}, "0::/of/host", 512, id="the host's path"),
        pytest.param(
            {"memory/memory.limit_in_bytes": "536870912"},
            "4:memory:/docker/x\n",
            512,
            id="version 1",
        ),
        pytest.param(
            {"memory/x/memory.limit_in_bytes": NO_LIMIT, "memory/memory.limit_in_bytes": NO_LIMIT},
            "0::/\n4:cpu,memory:/x\n3:cpu:/y",
            8192,
            id="version 1 without a limit",
        ),
        pytest.param({"memory.max": "99999999999999"}, "0::/", 8192, id="more than there is"),
    ],
)
def test_the_smallest_limit_applies(
    tmp_path: Path, groups: Mapping[str, str], own: str, limit_mb: int
) -> None:
    proc = write(tmp_path / "proc", MACHINE | {"self/cgroup": own})
    limit = read_limit(groups=write(tmp_path / "groups", groups), proc=proc)

    assert limit is not None
    assert limit.bytes == limit_mb * MEGABYTE


@pytest.mark.parametrize(
    ("groups", "own", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, "0::/", 2),
        ({"cpu.max": "250000 100000\n"}, "0::/", 2),
        ({"cpu.max": "50000 100000\n"}, "0::/", 1),
        ({"cpu.max": "max 100000\n"}, "0::/", 8),
        ({"cpu.max": "6400000 100000\n"}, "0::/", 8),
        ({"cpu.max": ""}, "0::/", 8),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/x", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/", 8),
        ({}, "0::/", 8),
    ],
)
def test_the_cores_are_those_that_the_quotas_allow(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: Mapping[str, str],
    own: str,
    cores: int,
) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(8))
    proc = write(tmp_path / "proc", {"self/cgroup": own})

    assert machine.own_cores(groups=write(tmp_path / "groups", groups), proc=proc) == cores


@pytest.mark.parametrize(
    ("groups", "own"),
    [
        ({"memory.events": "low 0\noom 2\noom_kill 3\n"}, "0::/"),
        ({"memory/x/memory.oom_control": "under_oom 0\noom_kill 3\n"}, "4:memory:/x"),
        ({}, "0::/"),  # the machine's count
    ],
)
def test_the_kernels_count_is_that_of_our_group(
    tmp_path: Path, groups: Mapping[str, str], own: str
) -> None:
    proc = write(tmp_path / "proc", {"self/cgroup": own, "vmstat": "pgfault 9\noom_kill 3\n"})

    assert count_oom_kills(groups=write(tmp_path / "groups", groups), proc=proc) == 3


@pytest.mark.parametrize(
    ("before", "now", "source", "killed"),
    [
        (0, 1, "memory.max", True),
        (0, 1, machine.PHYSICAL, True),
        (1, 1, "memory.max", False),  # an operator's `kill -9`
        (None, None, "memory.max", True),
        (None, None, machine.PHYSICAL, False),
    ],
)
def test_a_kill_is_blamed_on_memory_if_the_kernel_counted_one_or_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: int | None,
    now: int | None,
    source: str,
    killed: bool,
) -> None:
    monkeypatch.setattr(machine, "count_oom_kills", lambda: now)
    monkeypatch.setattr(
        machine, "read_limit", lambda: MemoryLimit(bytes=512 * MEGABYTE, source=source)
    )

    assert bool(killed_for_memory(before)) is killed


def settings(workers: int | None) -> Settings:
    return Settings.model_validate({"stages": STAGES, "server": {"workers": workers}})


@pytest.mark.parametrize(
    ("wanted", "cores", "limit_mb", "workers", "warned"),
    [
        (None, 4, 512, 1, True),
        (None, 4, 700, 2, False),
        (4, 4, 700, 2, True),
        (1, 4, 400, 1, False),
        (None, 4, None, 4, False),
        (None, 1, None, 2, False),  # a second one for the calls of a worker that dies
        (3, 1, None, 3, False),
        (1, 8, None, 1, False),
    ],
)
def test_there_are_as_many_workers_as_cores_or_as_fit_under_the_limit(
    monkeypatch: pytest.MonkeyPatch,
    *,
    wanted: int | None,
    cores: int,
    limit_mb: int | None,
    workers: int,
    warned: bool,
) -> None:
    limit = MemoryLimit(bytes=limit_mb * MEGABYTE, source="memory.max") if limit_mb else None
    monkeypatch.setattr(machine, "own_cores", lambda: cores)
    monkeypatch.setattr(machine, "read_limit", lambda: limit)

    assert machine.worker_count(settings(wanted)) == workers
    assert bool(machine.check_memory(settings(wanted))) is warned


def test_a_limit_below_one_worker_is_refused_with_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = MemoryLimit(bytes=256 * MEGABYTE, source="memory.max")
    monkeypatch.setattr(machine, "read_limit", lambda: limit)

    with pytest.raises(UsageError, match=r"is 256 MB \(memory.max\); a server needs 360 MB"):
        machine.check_memory(settings(None))
