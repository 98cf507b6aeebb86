"""Measures the code's structure; CONTRIBUTING.md quotes the figures.

    .venv/bin/python scripts/count_structure.py            # the source
    .venv/bin/python scripts/count_structure.py --calls    # and two calls; takes a minute

With --calls, two calls are traced: a turn of a recorded caller, and a voice that fails in
mid-sentence. A crossing is a call, or an await, from a function in one of our files to a function
in another. Each pair of functions counts once, however often one calls the other. Crossings between
folders are those that would remain if each folder were one file. A turn lasts from the moment when
the caller stops to the answer's first sample on the line; a failover lasts from the loss of the
connection to the first audio of the next voice.
"""

import ast
import asyncio
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: Final = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
MAX_METHODS: Final = 12
MAX_LINES: Final = 40
CALLER: Final = ROOT / "tests" / "fixtures" / "callers" / "01_hours.wav"
LOSS_BEFORE_EVENT_S: Final = 0.01  # chosen: a loss is reported within this time
CUT: Final = "cartesia:\n  - {fault: cut, after_words: 6, how: reset, from_s: 3}\n"


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file; each file is parsed only once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements of a tree, nested ones too, without a look at their expressions."""
    waiting = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
                waiting.append(node)
                yield node


def definitions() -> Iterator[tuple[Path, ast.AST]]:
    """Yield each of our classes and functions, and other statements, with its file."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in statements(tree_of(path)):
                yield path.relative_to(ROOT), node


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCount:
    """The findings in the source, as lines of text."""

    large_classes: list[str]
    shared_names: list[str]
    long_functions: list[str]


def count_source() -> SourceCount:
    """Return the classes and functions over their limits, and class names used in several files."""
    files, large, long = defaultdict[str, set[Path]](set), list[str](), list[str]()
    for path, node in definitions():
        match node:
            case ast.ClassDef():
                files[node.name].add(path)
                methods = [item for item in node.body if isinstance(item, FUNCTIONS)]
                if len(methods) > MAX_METHODS:
                    large.append(f"{node.name} ({len(methods)}, {path})")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if (node.end_lineno or 0) - node.lineno + 1 > MAX_LINES:
                    long.append(f"{node.name} ({path})")
            case _:
                pass
    shared = [f"{name} ({len(where)})" for name, where in sorted(files.items()) if len(where) > 1]
    return SourceCount(large_classes=large, shared_names=shared, long_functions=long)


def print_source(count: SourceCount) -> None:
    """Print the counts of the source."""
    _print(f"classes over {MAX_METHODS} methods", count.large_classes)
    _print("class names in several files", count.shared_names)
    _print(f"functions over {MAX_LINES} lines", count.long_functions)


def _print(what: str, found: list[str]) -> None:
    print(f"{what}: {len(found)}")
    for line in found:
        print(f"    {line}")


class Crossings:
    """Records each call from one of our files into another one, with its time."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str, str]] = []
        self.events: list[tuple[float, Any]] = []
        self._names: dict[Any, str | None] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Record an event of the interpreter; for `sys.setprofile`."""
        if event != "call" or frame.f_back is None:
            return
        callee = self._name(frame)
        if callee is None:
            return
        if callee.endswith(".emit") and "event" in frame.f_locals:
            self.events.append((self._now(), frame.f_locals["event"]))
        caller = self._name(frame.f_back)
        if caller is not None and caller.split(":")[0] != callee.split(":")[0]:
            self.seen.append((self._now(), caller, callee))

    def print_between(self, begins_s: float, ends_s: float) -> None:
        """Print the number of crossings between two moments; with `--list`, each of them."""
        edges = {(a, b) for at, a, b in self.seen if begins_s <= at <= ends_s}
        files = {name.split(":")[0] for edge in edges for name in edge}
        apart = sum(_folder(a) != _folder(b) for a, b in edges)
        print(f"    {len(edges)} crossings between {len(files)} files, {apart} between folders")
        if "--list" in sys.argv:
            for a, b in sorted(edges):
                print(f"        {a} -> {b}")

    def _now(self) -> float:
        from runtime.clock import monotonic  # noqa: PLC0415 - found once the root is on the path

        return monotonic()

    def _name(self, frame: FrameType) -> str | None:
        """Return `FILE:FUNCTION` for one of our functions; `None` for others and for lambdas."""
        code = frame.f_code
        if code not in self._names:
            path = Path(code.co_filename)
            ours = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS
            plain = not code.co_name.startswith("<")
            place = f"{path.relative_to(ROOT)}:{code.co_qualname}" if ours and plain else None
            self._names[code] = place
        return self._names[code]


def _folder(name: str) -> Path:
    return Path(name.split(":", maxsplit=1)[0]).parent


def print_crossings() -> None:
    """Trace two calls, and print the crossings in a caller's turn and in a failover of voices."""
    from calls.events import AnswerHeard, CallerStopped  # noqa: PLC0415 - after the path is set
    from fallbacks.events import AttemptFailed, AttemptWon  # noqa: PLC0415

    healthy = _trace_call(None)
    stops = [event for _, event in healthy.events if isinstance(event, CallerStopped)]
    answer = next(event for _, event in healthy.events if isinstance(event, AnswerHeard))
    last_stop_s = max(event.at_s for event in stops if event.at_s < answer.at_s)
    print("a caller's turn:")
    healthy.print_between(last_stop_s, answer.at_s)
    cut = _trace_call(CUT)
    failed_at = next(at for at, event in cut.events if isinstance(event, AttemptFailed))
    won_at = next(
        at for at, event in cut.events if isinstance(event, AttemptWon) and at > failed_at
    )
    print("a voice that fails:")
    cut.print_between(failed_at - LOSS_BEFORE_EVENT_S, won_at)


def _trace_call(faults: str | None) -> Crossings:
    from lab.replay import replay  # noqa: PLC0415

    crossings = Crossings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        schedule = folder / "faults.yaml"
        schedule.write_text(faults or "", encoding="utf-8")
        sys.setprofile(crossings)
        try:
            asyncio.run(replay([CALLER], faults=schedule if faults else None, out=folder))
        finally:
            sys.setprofile(None)
    return crossings


if __name__ == "__main__":
    print_source(count_source())
    if "--calls" in sys.argv:
        sys.path.insert(0, str(ROOT))
        print_crossings()
