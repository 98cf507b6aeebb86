"""Rules of the code base that no linter knows."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts.count_structure import FOLDERS, SourceCount, count_source, statements, tree_of
from tests.kit.module_names import named_in_strings

ROOT = Path(__file__).parents[1]

PURE_VALUES = (
    "bot.do_not_call.opt_out_words",
    "operations.crm.customer",
    "operations.notify.alert",
    "processors.speaking.speech_actions",
    "runtime.pcm",
)  # next to the rules that use them
# The standard library of a decision: no clock, no chance, no file, no network.
ALLOWED = {
    *(
        "abc",
        "array",
        "ast",
        "bisect",
        "calendar",
        "collections",
        "contextlib",
        "dataclasses",
        "email",
        "enum",
        "functools",
    ),
    *("hashlib", "html", "ipaddress", "itertools", "json", "math", "operator", "re", "statistics"),
    *("string", "struct", "types", "typing", "unicodedata"),
}
# Reads data files of the package, once: facts that do not change while the program runs.
DATA = {
    "fallbacks/data_files.py": {"importlib", "yaml"},
    "calls/languages/facts.py": {"importlib"},
}


def files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


@cache
def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]


@pytest.fixture(scope="module", autouse=True)
def no_trees_are_kept() -> Iterator[None]:
    """Free the trees of all files afterwards: each round of the garbage collector visits them."""
    yield
    calls_in.cache_clear()
    tree_of.cache_clear()


def imported(path: Path) -> Iterator[str]:
    for node in statements(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def is_pure(name: str) -> bool:
    if name.startswith(("calls.", "fallbacks.")) or name in PURE_VALUES:
        return True
    return name.endswith(("_rules", ".decision", ".rules", ".floor"))


PURE_FILES = [
    path
    for path in files(*FOLDERS)
    if is_pure(".".join(path.relative_to(ROOT).with_suffix("").parts))
]


def test_a_decision_imports_a_short_list_and_nothing_else() -> None:
    others = [
        f"{place} imports {name}"
        for path in PURE_FILES
        for place in [str(path.relative_to(ROOT))]
        for name in imported(path)
        if not is_pure(name) and name.split(".")[0] not in ALLOWED | DATA.get(place, set())
    ]

    assert len(PURE_FILES) > 50
    assert others == []


@pytest.mark.parametrize(
    ("room", "may"), [("lab/simulators", ("engines.", "lab.simulators")), ("engines", ("engines",))]
)
def test_a_simulator_imports_only_engines_and_an_engine_nothing_of_ours(
    room: str, may: tuple[str, ...]
) -> None:
    others = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(room)
        for name in imported(path)
        if name.split(".")[0] in FOLDERS and not name.startswith(may)
    ]

    assert files(room)
    assert others == []


def test_no_other_distribution_has_a_packages_name() -> None:
    owners = importlib.metadata.packages_distributions()

    for room in FOLDERS:
        assert set(owners.get(room, [])) <= {"holdline"}
        assert room not in sys.stdlib_module_names


def test_every_module_has_a_docstring() -> None:
    without = [path for path in files(*FOLDERS) if not ast.get_docstring(tree_of(path))]

    assert without == []


@pytest.mark.parametrize("room", FOLDERS)
def test_a_packages_init_holds_a_docstring_only(room: str) -> None:
    body = tree_of(ROOT / room / "__init__.py").body

    # Pipecat's runner looks for the coroutine `bot.bot`; users import `holdline.Ladders`.
    assert len(body) == 1 or room in ("bot", "holdline")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_index_and_no_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert "--hash=sha256:" in text
    assert "://" not in text
    assert "--index" not in text


def test_only_the_turn_makes_a_deadline() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for path in files(*FOLDERS)
        for node in calls_in(path)
        if getattr(node.func, "id", "") == "Deadline"
    }

    assert makers == {"calls/turn.py", "fallbacks/deadline.py"}  # the latter derives them


@pytest.fixture(scope="module")
def counted() -> SourceCount:
    return count_source()


def test_the_structure_is_no_harder_to_follow_than_the_page_says(counted: SourceCount) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    row = next(line for line in page.splitlines() if line.startswith("| classes over 12 methods |"))
    told, names = int(row.split("|")[3]), counted.large_classes
    assert len(names) <= told, f"make it smaller, or say so in CONTRIBUTING.md: {names}"


def test_a_function_is_at_most_forty_lines_long(counted: SourceCount) -> None:
    assert counted.long_functions == []


def test_a_class_name_stands_in_one_file(counted: SourceCount) -> None:
    assert counted.shared_names == []


# Functions that many modules have because one caller chooses among the modules.
INTERFACES = {
    *("main", "upgrade"),  # programs, migrations
    *("build", "probe", "probe_real", "share", "synthesise", "transcribe", "write"),  # providers
}


def test_a_public_functions_name_says_which_of_our_functions_it_is() -> None:
    homes: dict[str, set[str]] = {}
    for path in files(*FOLDERS):
        if (ROOT / "lab" / "simulators") not in path.parents:
            for node in tree_of(path).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    homes.setdefault(node.name, set()).add(str(path.relative_to(ROOT)))
    public = {name: found for name, found in homes.items() if not name.startswith("_")}

    assert len(public) > 1000
    assert {
        name: found for name, found in public.items() if len(found) > 2 and name not in INTERFACES
    } == {}


REASONS = {"reason", "because", "cause", "why", "outcome", "kind"}


def test_a_reason_in_an_event_is_a_code_that_can_be_filtered_by() -> None:
    homes = [*(ROOT / "calls").glob("*events.py"), ROOT / "fallbacks" / "events.py"]
    trees = [tree_of(home) for home in homes]
    event_names = {
        text.name for tree in trees for text in tree.body if isinstance(text, ast.ClassDef)
    }
    wrong = [
        f"{path}:{word.lineno} {word.value!r}"
        for path in files(*FOLDERS)
        for node in calls_in(path)
        if getattr(node.func, "id", "") in event_names
        for keyword in node.keywords
        if keyword.arg in REASONS
        for word in ast.walk(keyword.value)
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
        if not re.fullmatch(r"[a-z0-9_]*", word.value)
    ]

    assert len(event_names) > 80
    assert wrong == []


def test_no_string_in_the_code_names_a_module_of_ours() -> None:
    """In the wheel it has another name: the code asks Python for it (`__name__`)."""
    found = {
        str(path.relative_to(ROOT)): named
        for path in files(*FOLDERS)
        if (named := [ast.unparse(node) for node in named_in_strings(tree_of(path))])
    }

    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "x = 'configuration.errors'",
        "x = f'from bot.workers.wire import {name}'",
        "run(sys.executable, '-m', 'lab', 'serve')",
        "x = ('-m', 'bot.__main__')",
        "files('calls')",
        "importlib.import_module('providers')",
        "x = 'import lab; lab.start()'",
        "x = 'bot.__main__:main'",
    ],
)
def test_a_string_that_names_a_module_is_found(code: str) -> None:
    assert list(named_in_strings(ast.parse(code))) != []


@pytest.mark.parametrize(
    "code",
    [
        '"""As `configuration.errors` says."""',
        "x = 'transports.livekit'",  # a key of the configuration
        "x = 'calls'",
        "row['calls.csv']",
        "x = 'found in campaigns.yaml'",
    ],
)
def test_a_string_that_names_no_module_is_not_found(code: str) -> None:
    assert list(named_in_strings(ast.parse(code))) == []


# Folders of tests that have no folder of the same path in the product, each with the reason.
OWN_SUBJECTS = {
    "e2e": "browsers that talk to a whole server",
    "peers": "calls through a real LiveKit and real SIP telephones",
    "golden": "whole calls, compared with their traces",
    "examples": "run as a user runs them, by path",
    "fixtures": "recorded callers, and what builds them",
    "kit": "code that tests share",
    "transports/conformance": "one suite for every line",
}
# Modules that run the program as its users do: their tests may be about any part of `bot`.
PROGRAM = {"bot", "bot.__main__", "lab.process"}
TESTS = ROOT / "tests"


def subject_of(folder: Path) -> str | None:
    """Return the package whose tests this folder has, or None if it is its own subject."""
    path = folder.relative_to(TESTS)
    if path == Path() or any(path.is_relative_to(own) for own in OWN_SUBJECTS):
        return None
    return ".".join(path.parts)


def reached(path: Path) -> set[str]:
    """Return the modules that a test file imports, also through other files of tests."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for name in imported_with_members(waiting.pop()) - found:
            found.add(name)
            file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("tests.") and file.is_file():
                waiting.append(file)
    return found


# Parsing all tests would take ten seconds of a processor.
IMPORTS = re.compile(
    r"^ *(?:from ([\w.]+) import (?:\(([^)]*)\)|([\w, ]+))|import ([\w., ]+))", re.M
)


@cache
def imported_with_members(path: Path) -> set[str]:
    """Return each imported module, and each imported name as if it were one."""
    found: set[str] = set()
    for module, many, few, modules in IMPORTS.findall(path.read_text(encoding="utf-8")):
        listed = re.sub(r"#.*", "", many or few or modules).split(",")
        members = {name.split()[0] for name in listed if name.strip()}
        found |= {module, *(f"{module}.{name}" for name in members)} if module else members
    return found


def is_about(subject: str, modules: set[str]) -> bool:
    if subject.partition(".")[0] == "bot" and modules & PROGRAM:
        return True
    return any(name == subject or name.startswith(f"{subject}.") for name in modules)


def test_each_folder_of_tests_is_named_after_a_folder_of_the_product() -> None:
    folders = {file.parent for file in TESTS.rglob("*.py")}
    wrong = {
        subject
        for folder in folders
        if (subject := subject_of(folder))
        if not ROOT.joinpath(*subject.split(".")).is_dir()
    }

    assert wrong == set()


def test_no_test_file_imports_nothing_from_its_own_subject() -> None:
    wrong = [
        str(file.relative_to(ROOT))
        for file in sorted(TESTS.rglob("test_*.py"))
        if (subject := subject_of(file.parent)) and not is_about(subject, reached(file))
    ]

    assert wrong == []
