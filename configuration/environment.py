"""The only module that reads or writes environment variables, and reads `.env`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from configuration.errors import ConfigError, Problem

DOTENV: Final = Path(".env")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The variables of this process and of `.env`."""

    values: Mapping[str, str] = field(repr=False)  # contains secrets
    from_file: frozenset[str] = frozenset()  # names from `.env`

    def get(self, name: str) -> str | None:
        """Return the variable's value; an empty one counts as unset."""
        return self.values.get(name, "").strip() or None

    def where(self, name: str) -> str:
        """Return where the variable was found, for messages."""
        return f"{'.env' if name in self.from_file else 'environment'} {name}"


def read_environment(dotenv: Path = DOTENV) -> Environment:
    """Return the variables; those of the process win over those of the file, even when empty.

    Raises:
        ConfigError: A line of the file is not `NAME=value`.
    """
    process = dict(os.environ)
    written = _read_file(dotenv) if dotenv.is_file() else {}
    return Environment(
        values={**written, **process}, from_file=frozenset(written.keys() - process.keys())
    )


def use_one_thread_for_arrays() -> None:
    """Limit numpy's linear algebra to one thread; call this before numpy is loaded.

    OpenBLAS wakes a thread for each core even for work of half a millisecond, and the threads of
    several calls wait for each other: analysing a turn's audio took 38 ms instead of 13 ms (p90,
    two cores). A limit that the environment already sets stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def count_together(folder: Path) -> None:
    """Make prometheus_client keep its counts in files, which all workers share.

    Call this before prometheus_client is imported, because it reads this variable only then
    (https://prometheus.github.io/client_python/multiprocess/).
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def service_manager() -> str:
    """Return systemd's notification socket (sd_notify(3)); empty if there is none."""
    return os.environ.get("NOTIFY_SOCKET", "")


def take_handed_sockets() -> int:
    """Return how many listening sockets systemd has passed to this process.

    The sockets are the file descriptors from 3 on: see sd_listen_fds(3). The variables are removed,
    so that child processes do not take them too, and any further call returns 0. So does a call in
    a process that they are not meant for.
    """
    count, process = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    return int(count) if process == str(os.getpid()) and count.isdecimal() else 0


def _read_file(dotenv: Path) -> dict[str, str]:
    """Return the file's variables; raise `ConfigError` with the number of each wrong line."""
    try:
        with dotenv.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(where=str(dotenv), text=f"cannot be read: {error}")]) from error
    wrong = [
        binding.original.line
        for binding in bindings
        if binding.error or (binding.key and binding.value is None)
    ]
    if wrong:  # the line itself is not shown: it may hold a secret
        raise ConfigError(
            Problem(where=f"{dotenv}:{line}", text="is not NAME=value") for line in wrong
        )
    return {binding.key: binding.value or "" for binding in bindings if binding.key}
