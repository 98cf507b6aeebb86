"""No locked version, and no allowed one of a direct dependency, has a known vulnerability."""

import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.advisories import FILE, Advisory, merge, written

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: Final = PROJECT["project"]["optional-dependencies"].values()
RUN_TIME: Final = [
    Requirement(text) for texts in (PROJECT["project"]["dependencies"], *EXTRAS) for text in texts
]
ADVISORIES: Final[list[Advisory]] = json.loads(FILE.read_text(encoding="utf-8"))
LOCKED: Final = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
PACKAGES: Final = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
PINNED: Final = {  # by another package
    "pydantic_core": "pydantic",
    "deepgram": "pipecat-ai",
    "wait_for2": "pipecat-ai",  # used only where Pipecat needs it
}
LOCKS: Final = ("requirements.lock", "requirements-dev.lock")


def locked(name: str) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for package, version in LOCKED.findall((ROOT / name).read_text(encoding="utf-8")):
        found.setdefault(canonicalize_name(package), []).append(Version(version))
    return found


def lowest(requirement: Requirement) -> Version | None:
    """Return the lowest version that a requirement allows; `None` if there is no bound."""
    bounds = [
        Version(item.version.removesuffix(".*"))
        for item in requirement.specifier
        if item.operator in (">=", "==", "~=")
    ]
    return max(bounds, default=None)


def holes(advisory: Advisory, versions: list[Version]) -> list[str]:
    """Return the versions that an advisory concerns."""
    if advisory.get("accepted"):
        return []
    fixed = advisory["fixed"]
    return [str(item) for item in versions if fixed is None or item < Version(fixed)]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda item: f"{item['package']}-{item['id']}")
def test_no_locked_version_has_a_known_vulnerability(advisory: Advisory, lock: str) -> None:
    assert holes(advisory, locked(lock).get(advisory["package"], [])) == []


@pytest.mark.parametrize("requirement", RUN_TIME, ids=str)
def test_a_dependency_has_a_lower_bound_that_is_safe_and_locked(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    bound = lowest(requirement)
    versions = locked("requirements-dev.lock")[name]

    assert bound is not None, f"{requirement} allows any old version"
    concerned = [item for item in ADVISORIES if item["package"] == name]
    assert [item["id"] for item in concerned if holes(item, [bound])] == []
    assert any(version in requirement.specifier for version in versions)


def test_every_library_that_we_import_is_declared() -> None:
    """One that only comes with another has the bound of that other, or none."""
    by_module = packages_distributions()
    declared = {canonicalize_name(item.name) for item in RUN_TIME}
    undeclared: dict[str, str] = {}
    for module, file in imported():
        owners = {canonicalize_name(item) for item in by_module.get(module, [])}
        if owners and module not in PINNED and not owners & declared:
            undeclared[module] = file
    assert undeclared == {}


IMPORT: Final = re.compile(r"^ *(?:from ([\w.]+) import |import ([\w., ]+)(?:#.*)?$)", re.MULTILINE)


def imported() -> list[tuple[str, str]]:
    """Return the top-level name of each module that our packages import, with the file."""
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for module, modules in IMPORT.findall(path.read_text(encoding="utf-8")):
                names = [module] if module else modules.split(",")
                tops = [name.split()[0].partition(".")[0] for name in names if name.strip()]
                found += [(top, str(path.relative_to(ROOT))) for top in tops]
    return [item for item in found if item[0] not in {*PACKAGES, *sys.stdlib_module_names}]


def test_the_list_is_in_order_and_names_versions() -> None:
    assert written(merge(ADVISORIES, iter(()))) == FILE.read_text(encoding="utf-8")
    assert all(Version(item["fixed"]) for item in ADVISORIES if item["fixed"])
