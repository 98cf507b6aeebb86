"""Adds the findings of `pip-audit` to `.ci/advisories.json`, which a test compares with the locks.

On a machine that can reach an advisory database:

    uvx pip-audit -r requirements-dev.lock --disable-pip -f json > report.json
    .venv/bin/python scripts/advisories.py < report.json

The list is committed, so that the test needs no network. If no version fixes an advisory, `fixed`
is null, and the test fails until `accepted` says why the advisory does not affect us.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.version import Version

FILE: Final = Path(__file__).parents[1] / ".ci" / "advisories.json"
ABOUT_CHARACTERS: Final = 80

Advisory = Mapping[str, Any]


def advisories_in(report: Mapping[str, Any]) -> Iterator[Advisory]:
    """Yield the advisories of a report in the format of `pip-audit -f json`."""
    for package in report["dependencies"]:
        for found in package.get("vulns", ()):
            names = [found["id"], *found.get("aliases", ())]
            about = " ".join(found.get("description", "").split())
            yield {
                "package": package["name"].lower(),
                "id": next((name for name in names if name.startswith("CVE-")), names[0]),
                "fixed": _first_fixed(found.get("fix_versions", ()), Version(package["version"])),
                "about": about[:ABOUT_CHARACTERS],
            }


def _first_fixed(fixed: Sequence[str], after: Version) -> str | None:
    """Return the lowest fixed version above the installed one; `None` if there is none."""
    return min((item for item in fixed if Version(item) > after), key=Version, default=None)


def merge(known: Sequence[Advisory], found: Iterator[Advisory]) -> list[Advisory]:
    """Return all advisories, sorted; those already in the list keep their entry."""
    kept = {(item["package"], item["id"]): item for item in known}
    for item in found:
        kept.setdefault((item["package"], item["id"]), item)
    return [kept[key] for key in sorted(kept)]


def written(advisories: Sequence[Advisory]) -> str:
    """Return the list as JSON text, one line for each advisory."""
    lines = ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in advisories)
    return f"[\n{lines}\n]\n"


def main() -> None:
    """Read a report from standard input, and update the list."""
    known = json.loads(FILE.read_text(encoding="utf-8"))
    merged = merge(known, advisories_in(json.load(sys.stdin)))
    FILE.write_text(written(merged), encoding="utf-8")
    print(f"{len(merged) - len(known)} new advisories; now run tests/test_advisories.py")


if __name__ == "__main__":
    main()
