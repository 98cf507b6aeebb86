"""A server process that records the work that libraries do on first use.

    python tests/bot/noting_program.py NOTES --config FILE

It appends a line to the file NOTES for each import of a module that was not loaded, each pattern
compiled, each session of the ONNX runtime and each set of certificates read.
"""

import asyncio
import re._compiler  # type: ignore[import-not-found] - where `re` has its patterns compiled
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
from sqlalchemy.ext.asyncio import AsyncEngine

NOTES = Path(sys.argv[1]).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - for good


def note_imports(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "import":
        NOTES.write(f"import {arguments[0]}\n")


def noting(what: str, used: Callable[..., Any]) -> Callable[..., Any]:
    def use(*arguments: Any, **named: Any) -> Any:
        NOTES.write(f"{what} {str(arguments[:1])[:80]!r}\n")
        return used(*arguments, **named)

    return use


re._compiler.compile = noting("pattern", re._compiler.compile)
ssl.create_default_context = noting("certificates", ssl.create_default_context)
onnxruntime.InferenceSession.__init__ = noting("session", onnxruntime.InferenceSession.__init__)
sys.addaudithook(note_imports)
sys.path.insert(0, str(Path.cwd()))

from configuration.environment import use_one_thread_for_arrays  # noqa: E402 - noted, too
from configuration.loading import load  # noqa: E402
from operations.telemetry import logs  # noqa: E402

use_one_thread_for_arrays()
settings = load(Path(sys.argv[sys.argv.index("--config") + 1])).settings
logs.set_up(level=settings.logs.level, folder=settings.logs.dir)

from bot.server.server import serve  # noqa: E402 - imports Pipecat, after the log's rules
from operations.database.database import Database  # noqa: E402 - as above

LATE_S = 3.0  # after the start, and inside the first call
find_engine = Database.engine


async def find_engine_late(self: Database) -> AsyncEngine:
    await asyncio.sleep(LATE_S)
    return await find_engine(self)


# As on a machine so slow that the first call comes before the database was used.
Database.engine = find_engine_late

asyncio.run(serve(settings))
