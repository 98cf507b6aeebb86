"""Records what happens in some sixty calls, and compares it later: a safety net for refactoring.

    .venv/bin/python scripts/golden_traces.py record                   # all, to tests/golden/traces
    .venv/bin/python scripts/golden_traces.py record --only tool,healthy --out /tmp/traces
    .venv/bin/python scripts/golden_traces.py compare                  # exits 1 if calls differ
    .venv/bin/python scripts/golden_traces.py compare --only tts-stall /tmp/traces

`tests/golden/calls.py` has the calls, and `tests/golden/trace.py` defines the contents of a trace.
The calls run on virtual time in this process, one after the other, some four seconds each.
"""

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from loguru import logger  # noqa: E402 - after the path, like the next ones

from tests.conftest import forget_servers  # noqa: E402
from tests.golden.calls import CALLS  # noqa: E402
from tests.golden.trace import TRACES, compare_traces, trace_call  # noqa: E402
from tests.virtual_time import VirtualLoop  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if a call differs from its trace, or failed."""
    options = _parse(arguments)
    logger.remove()
    run = _record if options.command == "record" else _compare
    failed = run(options.only, options.folder)
    for name in failed:
        print(f"{name}: differs" if options.command == "compare" else f"{name}: failed")
    if not failed:
        result = "recorded" if options.command == "record" else "as recorded"
        print(f"{len(options.only)} calls {result} in {options.folder}")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="write the traces")
    record.add_argument(
        "--out", dest="folder", type=Path, default=TRACES, help="where to write them"
    )
    compare = commands.add_parser("compare", help="compare calls with their traces")
    compare.add_argument("folder", nargs="?", type=Path, default=TRACES, help="where they are")
    for command in (record, compare):
        command.add_argument("--only", type=_names, default=list(CALLS), help="some: NAME,...")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in CALLS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of: {', '.join(CALLS)}")
    return names


def _record(names: Sequence[str], folder: Path) -> list[str]:
    """Write the traces of these calls; return the names of those that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    broken: list[str] = []
    for name in names:
        if trace := _trace(name):
            (folder / f"{name}.jsonl").write_text("\n".join(trace) + "\n", encoding="utf-8")
        else:
            broken.append(name)
    return broken


def _compare(names: Sequence[str], folder: Path) -> list[str]:
    """Print where calls differ from their traces; return the names of those calls."""
    different: list[str] = []
    for name in names:
        recorded = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        trace = _trace(name)
        if not trace:
            different.append(name)
        elif lines := compare_traces(recorded, trace, name=name):
            print("\n".join(lines), flush=True)
            different.append(name)
    return different


def _trace(name: str) -> list[str]:
    """Return the trace of a call; if the call fails, print why and return an empty trace."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="holdline-golden-") as folder,
            asyncio.Runner(loop_factory=VirtualLoop) as runner,
        ):
            return runner.run(trace_call(CALLS[name], Path(folder)))
    except Exception as broken:  # noqa: BLE001 - whatever fails, the other calls are traced
        traceback.print_exception(_innermost(broken))
        return []
    finally:
        forget_servers()


def _innermost(error: BaseException) -> BaseException:
    """Return the first error in nested groups: a call runs inside a dozen task groups."""
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    sys.exit(main())
