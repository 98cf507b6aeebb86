"""Writes into docs/transports.md what each transport can do, from the conformance suite's results.

    .venv/bin/python scripts/doors_table.py                 # runs the suite: some ten minutes
    .venv/bin/python scripts/doors_table.py --results FILE...  # reads existing results

Behaviours that the suite could not try on this machine count as unproven, never as passed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from xml.etree import ElementTree

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.transports.conformance.transport import (  # noqa: E402 - after the path
    BEHAVIOURS,
    Transport,
    find_transports,
)

SUITE: Final = "tests/transports/conformance/test_transports.py"
PAGE: Final = ROOT / "docs" / "transports.md"
BEGIN: Final = "<!-- doors: written by scripts/doors_table.py -->"
END: Final = "<!-- doors: end -->"
FAILED: Final = "**fails**"
UNPROVEN: Final = "unproven"

TableWords: TypeAlias = Mapping[tuple[str, str], str]
"""The table's word for each result, by behaviour and transport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCase:
    """One test of the suite with one transport."""

    test: str
    door: str
    behaviour: str  # empty if the test was skipped before it could record it
    found: str
    outcome: str  # passed, skipped, failed


def read_cases(results: Path) -> list[TriedCase]:
    """Return the results in a JUnit file that pytest has written."""
    cases: list[TriedCase] = []
    for item in ElementTree.parse(results).iter("testcase"):  # noqa: S314 - written a moment ago
        test, _, door = item.get("name", "").rstrip("]").partition("[")
        properties = {entry.get("name"): entry.get("value", "") for entry in item.iter("property")}
        failed = item.find("failure") is not None or item.find("error") is not None
        skipped = item.find("skipped") is not None
        cases.append(
            TriedCase(
                test=test,
                door=door,
                behaviour=str(properties.get("behaviour", "")),
                found=str(properties.get("found", "")),
                outcome="failed" if failed else "skipped" if skipped else "passed",
            )
        )
    return cases


def judge(cases: Sequence[TriedCase]) -> TableWords:
    """Return the table's word for each behaviour and transport in these results."""
    behaviour_of = {case.test: case.behaviour for case in cases if case.behaviour}
    return {
        (behaviour_of[case.test], case.door): _word(case)
        for case in cases
        if case.test in behaviour_of
    }


def _word(case: TriedCase) -> str:
    kind = case.found.partition(":")[0]
    if case.outcome == "failed":
        return FAILED
    if kind == "void":
        return "-"
    if case.outcome == "skipped":
        return UNPROVEN
    return {"does": "yes", "refuses": "refused"}[kind]


def render(found: TableWords, doors: Sequence[Transport]) -> str:
    """Return the table, followed by the reasons why a transport refuses something."""
    names = [door.name for door in doors]
    lines = ["| behaviour | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for behaviour, words in BEHAVIOURS.items():
        cells = [found.get((behaviour, name), UNPROVEN) for name in names]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| transport | tested with | what it refuses, cannot have, or has not proven |",
        "| --- | --- | --- |",
    ]
    for door in doors:
        reasons = {**door.cannot, **door.void, **door.unproven}
        why = "; ".join(f"{BEHAVIOURS[name]}: {reason}" for name, reason in reasons.items())
        lines.append(f"| {door.name} | {door.peer} | {why or 'nothing'} |")
    return "\n".join(lines)


def write(page: Path, table: str) -> None:
    """Replace the text between the marks in the page with the table."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def run_suite(results: Path) -> int:
    """Run the suite, write its results to a file, and return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", SUITE, f"--junitxml={results}"]
    command += ["-o", "junit_family=xunit1"]  # the newer one has no field for a test's properties
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - our own


def main() -> int:
    """Write the table; return 1 if any result is failed or unproven."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--results", type=Path, nargs="+", help="pytest's JUnit files; default: run the suite"
    )
    given = parser.parse_args().results
    with tempfile.TemporaryDirectory() as folder:
        results = given or [Path(folder) / "results.xml"]
        if given is None:
            run_suite(*results)
        found = judge([case for result in results for case in read_cases(result)])
    write(PAGE, render(found, find_transports()))
    return int(any(word in (FAILED, UNPROVEN) for word in found.values()))


if __name__ == "__main__":
    sys.exit(main())
