"""Breaks the decisions on purpose, one small change at a time; prints changes that no test noticed.

    make mutants                                            # every decision: hours
    make mutants ONLY=fallbacks/breaker.py,calls/turn.py    # minutes
    make mutants JOBS=2                                     # two at a time
    make mutants TENTH=1 ONLY=fallbacks/attempts.py         # every tenth change of each function

A mutant is a function with one change: a comparison reversed, a number increased by one, an
argument omitted. mutmut creates the mutants and runs, for each, the tests that reach the function,
with few examples, which are always the same: all tests in tests/fallbacks and tests/calls, and for
a decision elsewhere the files that have its path and its name. A mutant for which no test fails has
survived: a test is missing, or the change has no observable effect.

This works on a copy in a temporary folder. The exit code is 1 if fewer than nine in ten mutants are
noticed. Code outside functions (tables, the defaults of settings) is not changed.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDERS: Final = (
    *("fallbacks", "calls", "processors", "operations", "campaigns"),
    *("contacts", "transports", "providers", "engines", "bot"),
)
RULES: Final = ("*_rules.py", "decision.py")
WHOLE: Final = ("fallbacks", "calls")  # folders of which each file is a decision
PROFILE: Final = {"HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1"}
NEEDED: Final = ("pyproject.toml", "tests/conftest.py")
SHARED: Final = re.compile(r"^from (tests(?:\.\w+)+) import", re.MULTILINE)
MIN_NOTICED: Final = 0.9  # of the mutants
# Exit codes, as in mutmut's own `stats.py`; any other means that the mutant was not noticed.
KILLED: Final = (1, 3)
TIMEOUTS: Final = (36, 24, -24, 152, 255)
TENTH: Final = "*__mutmut_*1"  # the names of the first, the eleventh, and so on
GETTER: Final = "value_of_"  # the name of a property's function in the copy


def with_getters(source: str) -> str:
    """Return the source with each property as a plain function: mutmut skips decorated ones."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        decorator = node.decorator_list[0]
        if isinstance(decorator, ast.Name) and decorator.id == "property" and node.end_lineno:
            indent = " " * node.col_offset
            name = GETTER + node.name
            lines[decorator.lineno - 1] = ""
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(node.name, name, 1)
            lines[node.end_lineno - 1] += f"\n{indent}{node.name} = property({name})\n"
    return "".join(lines)


def decisions() -> list[str]:
    """Return all files of fallbacks/ and calls/, and the rules of other folders."""
    found = [path for folder in WHOLE for path in (ROOT / folder).rglob("*.py")]
    found += [path for folder in FOLDERS for rule in RULES for path in (ROOT / folder).rglob(rule)]
    return sorted({str(path.relative_to(ROOT)) for path in found})


def decision_tests() -> list[str]:
    """Return the test files of all decisions: those with a decision's path and name."""
    found = {path for folder in WHOLE for path in (ROOT / "tests" / folder).rglob("test_*.py")}
    for name in decisions():
        decision = Path(name)
        folder = ROOT / "tests" / decision.parent
        found.update(folder.glob(f"test_{decision.stem}.py"))
        found.update(folder.glob(f"test_{decision.stem}_*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def with_shared(names: Iterable[str]) -> set[str]:
    """Return these files, and the files of tests from which they import."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        text = (ROOT / name).read_text(encoding="utf-8")
        shared = {f"{module.replace('.', '/')}.py" for module in SHARED.findall(text)}
        waiting |= {file for file in shared if (ROOT / file).is_file()} - found
    return found


def data_beside(names: Iterable[str]) -> set[str]:
    """Return the tables in the folders of these tests, which read them."""
    folders = {(ROOT / name).parent for name in names if name.startswith("tests/")}
    tables = (path for folder in folders for path in folder.glob("*.tsv"))
    return {str(path.relative_to(ROOT)) for path in tables}


def prepare(place: Path, *, only: Sequence[str]) -> None:
    """Copy the mutated files and their tests to `place`, with mutmut's settings."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / folder, ignore=unwanted)
    tests = with_shared((*NEEDED, *decision_tests()))
    for name in sorted(tests | data_beside(tests)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    for path in (place / name for name in decisions()):
        path.write_text(with_getters(path.read_text(encoding="utf-8")), encoding="utf-8")
    settings = {
        "source_paths": [f"{folder}/" for folder in FOLDERS],
        "only_mutate": list(only) or decisions(),
        "also_copy": ["processors/holding/utterances.yaml"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist"],
        "pytest_add_cli_args_test_selection": decision_tests(),
    }
    with (place / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.mutmut]\n")
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def mutmut(*words: str, place: Path) -> str:
    """Run mutmut in `place`; return its output, which is empty if `run` prints it on a terminal."""
    shown = words[0] == "run" and sys.stdout.isatty()
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "mutmut", *words],
        cwd=place,
        env=os.environ | PROFILE,  # noqa: TID251 - inherited, not read
        check=True,
        stdout=None if shown else subprocess.PIPE,
        text=True,
    )
    return done.stdout or ""


def results(place: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each mutated file, with the result of each of its mutants that was tried."""
    for path in sorted((place / "mutants").rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        # Without a code, the mutant was not tried.
        fates = {mutant: fate_of(code) for mutant, code in codes.items() if code is not None}
        if fates:
            yield str(path.relative_to(place / "mutants")).removesuffix(".meta"), fates


def fate_of(code: int) -> str:
    """Return the result of a mutant whose tests ended with this exit code."""
    if code in KILLED:
        return "killed"
    return "timeouts" if code in TIMEOUTS else "survived"


def row(name: str, fates: Counter[str]) -> str:
    """Return a line of the table: the mutants of a file, and the share that was noticed."""
    share = 1 - fates["survived"] / fates.total()
    numbers = (fates.total(), fates["killed"], fates["survived"], fates["timeouts"])
    return f"{name:32}" + "".join(f"{number:10}" for number in numbers) + f"{share:10.1%}"


def report(place: Path) -> int:
    """Print each survivor as a diff, then the table; return the exit code of `main`."""
    found = dict(results(place))
    for name, fates in found.items():
        for mutant in (mutant for mutant, fate in fates.items() if fate == "survived"):
            diff = mutmut("show", mutant, place=place).replace(GETTER, "")
            print(f"\n{name} {diff.strip()}")
    print(f"\n{'':32}{'mutants':>10}{'killed':>10}{'survived':>10}{'timeouts':>10}{'noticed':>10}")
    for name, fates in found.items():
        print(row(name, Counter(fates.values())))
    everything = Counter(fate for fates in found.values() for fate in fates.values())
    print(row("all", everything))
    return int(everything["survived"] > (1 - MIN_NOTICED) * everything.total())


def main(only: Sequence[str], *, jobs: int, tenth: bool) -> int:
    """Try all mutants, or a tenth, of these files, or of all; print the results.

    Returns:
        0, 1 if too few were noticed or mutmut failed, 2 if a file is not one of the decisions.
    """
    for name in only:
        if name not in decisions():
            print(f"ONLY={','.join(only)}: {name} is not one of the decisions", file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        place = Path(folder)
        prepare(place, only=only)
        try:
            names = (TENTH,) if tenth else ()
            mutmut("run", "--max-children", str(jobs), *names, place=place)
        except subprocess.CalledProcessError as error:  # for instance, tests that fail anyway
            print((error.stdout or "").rpartition("\r")[2], file=sys.stderr)
            return 1
        return report(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", help="files of decisions, also separated by commas")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--tenth", action="store_true", help="only every tenth of a function")
    given = parser.parse_args()
    chosen = [item for word in given.files for item in word.split(",") if item]
    sys.exit(main(chosen, jobs=given.jobs, tenth=given.tenth))
