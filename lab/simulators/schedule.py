"""The windows of faults: in time, by chance, or for the next few requests."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from lab.simulators import faults
from lab.simulators.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """An intermittent fault: on for `on_s` seconds, off for `off_s` seconds, repeatedly."""

    on_s: float
    off_s: float

    def is_on(self, after_s: float) -> bool:
        """Return whether the fault is on `after_s` seconds after the window's start."""
        return after_s % (self.on_s + self.off_s) < self.on_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A fault, and the requests that it hits.

    Attributes:
        fault: The fault.
        from_s: Its start, in seconds after the schedule's start.
        until_s: Its end, in seconds after the schedule's start; infinite if it has none.
        p: The share of requests that it hits, drawn once for each request.
        requests: It hits only this many requests, the next ones; `None` for all.
        pattern: If given, the fault is intermittent within the window.
        path: It hits only requests whose path or query contains this text; empty for all.
    """

    fault: Fault
    from_s: float = 0.0
    until_s: float = math.inf
    p: float = 1.0
    requests: int | None = None
    pattern: Pattern | None = None
    path: str = ""

    def holds(self, now_s: float, *, chance: float, path: str = "") -> bool:
        """Return whether a request with this `chance` (0 to 1, drawn once) is hit at `now_s`."""
        if not self.from_s <= now_s < self.until_s or chance >= self.p or self.path not in path:
            return False
        return self.pattern is None or self.pattern.is_on(now_s - self.from_s)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The windows of one provider, oldest first; the newest that holds wins."""

    windows: tuple[Window, ...] = ()

    def active_indexes(self, now_s: float, *, chance: float, path: str = "") -> Iterator[int]:
        """Yield the indexes of the windows that hit such a request at `now_s`, newest first."""
        for index in reversed(range(len(self.windows))):
            if self.windows[index].holds(now_s, chance=chance, path=path):
                yield index

    def active(self, now_s: float, chance: float) -> Fault | None:
        """Return the fault of the newest window that holds, if any."""
        for index in self.active_indexes(now_s, chance=chance):
            return self.windows[index].fault
        return None


_WINDOW_KEYS: Final = ("from_s", "until_s", "p", "requests", "pattern", "path")


def parse_windows(rows: object) -> tuple[Window, ...]:
    """Parse a YAML or JSON list of windows.

    Args:
        rows: `[{"fault": NAME, FIELD: VALUE, "from_s": ..., ...}, ...]`

    Raises:
        ValueError: A wrong key or value; one line with the valid ones.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ValueError(f"a schedule is {rows!r}; it takes a list of faults")  # noqa: TRY004 - it is a value, read from a file
    return tuple(_parse_window(row) for row in rows)


def parse_schedules(mapping: object) -> dict[str, tuple[Window, ...]]:
    """Parse the windows of each instance: `{INSTANCE: [WINDOW, ...]}`.

    Raises:
        ValueError: A wrong key or value; one line with the valid ones.
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f"the schedule is {mapping!r}; it takes instance names and their faults")  # noqa: TRY004 - it is a value, read from a file
    schedules: dict[str, tuple[Window, ...]] = {}
    for name, rows in mapping.items():
        try:
            schedules[str(name)] = parse_windows(rows)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return schedules


def load_schedules(text: str) -> dict[str, tuple[Window, ...]]:
    """Parse the windows of each instance from YAML or JSON text.

    Raises:
        ValueError: Invalid text, or a wrong key or value; one line.
    """
    try:
        return parse_schedules(_parse_json(text) or yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None


def _parse_json(text: str) -> object:
    """Parse JSON, which PyYAML refuses if it has tabs; return `None` if it is invalid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def window_as_mapping(window: Window) -> dict[str, Any]:
    """Return the window as one row for `parse_windows`.

    An infinite `until_s` is left out, because JSON has no infinity.
    """
    mapping = faults.as_mapping(window.fault)
    mapping |= {"from_s": window.from_s, "p": window.p}
    if math.isfinite(window.until_s):
        mapping["until_s"] = window.until_s
    if window.requests is not None:
        mapping["requests"] = window.requests
    if window.pattern is not None:
        mapping["pattern"] = {"on_s": window.pattern.on_s, "off_s": window.pattern.off_s}
    if window.path:
        mapping["path"] = window.path
    return mapping


def _parse_window(row: object) -> Window:
    """Return a fault and its timing; raise `ValueError`, with the valid values, if one is wrong."""
    if not isinstance(row, Mapping):
        raise ValueError(f"a fault is {row!r}; it takes a mapping with the key fault")  # noqa: TRY004 - it is a value, read from a file
    timing = {key: row[key] for key in _WINDOW_KEYS if row.get(key) is not None}
    fault = faults.parse({key: value for key, value in row.items() if key not in _WINDOW_KEYS})
    if "pattern" in timing:
        timing["pattern"] = _parse_pattern(timing["pattern"])
    _check_timing(timing)
    return Window(fault=fault, **timing)


def _check_timing(timing: Mapping[str, Any]) -> None:
    """Raise `ValueError`, with the valid values, for the first wrong one."""
    for key in ("from_s", "until_s"):
        if key in timing and not _is_at_least(timing[key], least=0):
            raise ValueError(f"{key} is {timing[key]!r}; it takes seconds, 0 or more")
    if timing.get("until_s", math.inf) <= timing.get("from_s", 0):
        raise ValueError(f"until_s is {timing['until_s']!r}; it takes seconds after from_s")
    if "p" in timing and not (_is_at_least(timing["p"], least=0) and timing["p"] <= 1):
        raise ValueError(f"p is {timing['p']!r}; it takes a share from 0 to 1")
    requests = timing.get("requests", 1)
    if not isinstance(requests, int) or isinstance(requests, bool) or requests < 1:
        raise ValueError(f"requests is {requests!r}; it takes a whole number, 1 or more")
    if not isinstance(timing.get("path", ""), str):
        raise ValueError(f"path is {timing['path']!r}; it takes a part of a path or query")  # noqa: TRY004 - it is a value, read from a file


def _parse_pattern(value: object) -> Pattern:
    """Return a pattern of faulty and healthy seconds; raise `ValueError` if it is invalid."""
    takes = "it takes {on_s: SECONDS, off_s: SECONDS}, both above 0"
    if not isinstance(value, Mapping) or set(value) != {"on_s", "off_s"}:
        raise ValueError(f"pattern is {value!r}; {takes}")
    if not all(_is_at_least(part, least=1e-3) for part in value.values()):
        raise ValueError(f"pattern is {dict(value)!r}; {takes}")
    return Pattern(on_s=value["on_s"], off_s=value["off_s"])


def _is_at_least(value: object, *, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= least
