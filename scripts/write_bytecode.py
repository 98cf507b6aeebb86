"""Writes the bytecode of the modules that `holdline serve` and `holdline demo` import.

`scripts/setup` runs it. If the programs may not write to the folders of their code (a container,
another user, `PYTHONDONTWRITEBYTECODE`), each start would compile two
thousand files again, which takes 3.5 s.
"""

import compileall
import importlib
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
STARTS: Final = (
    "bot.cli.serve",
    "bot.server.server",
    "bot.workers.supervisor",
    "lab.demo.demo",
    "lab.simulators.lab",
    "numpy.fft",
)


def main() -> int:
    """Import what the programs import, and compile those files; return 1 if one failed."""
    ran: set[str] = set()  # includes modules whose import fails, such as optional parts

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":
            ran.add(arguments[0].co_filename)

    sys.addaudithook(note)
    sys.path.insert(0, str(ROOT))
    for name in STARTS:
        importlib.import_module(name)
    from providers.catalog import PROVIDERS  # noqa: PLC0415 - found only once the root is on the path

    for provider in PROVIDERS:
        provider.load()
    known = {getattr(module, "__file__", None) or "" for module in tuple(sys.modules.values())}
    files = sorted(line for line in ran | known if line.endswith(".py"))
    done = [compileall.compile_file(file, quiet=2) for file in files]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
