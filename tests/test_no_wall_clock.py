"""No test compares real time with a bound: on a busy machine it would fail without a defect.

Waiting tests run on virtual time; `benchmarks/` measures speed, or `time.thread_time` does, which
grows only while the thread has a core. This finds comparisons of values computed from a clock, in
functions not marked `virtual_time`; measurements of other objects or processes are not found.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"}
READS = re.compile(rf"\.({'|'.join(CLOCKS)})\(")
RECKON = {"abs", "float", "list", "max", "min", "round", "sorted", "sum"}
# Assertions that may stay: guards against hanging, and moments that are compared, not lengths.
ALLOWED = {
    "test_mic.py: until": "a guard",
    "test_sharing.py: test_times_follow_the_boards_clock_and_not_the_machines": "a day off",
    "test_sharing.py: test_a_change_of_the_boards_clock_is_followed_at_the_next_read": "1 h off",
    "test_shared_values.py: test_moments_are_read_on_the_readers_clock": "minutes off",
    "share_servers.py: _until_ready": "a guard",
    "test_provider_board.py: test_the_board_has_a_clock": "between two readings",
    "test_virtual_time.py": "what is tested is the clock",
    "pulse.py: listening": "a guard",
    "pulse.py: sound_card": "a guard",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def marks(nodes: list[ast.expr]) -> set[str]:
    return {
        item.attr for node in nodes for item in ast.walk(node) if isinstance(item, ast.Attribute)
    }


def is_virtual(function: Function, module: set[str]) -> bool:
    own = marks(function.decorator_list)
    return "virtual_time" in own | module and "real_time" not in own


def names(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def is_time(node: ast.AST, made: set[str]) -> bool:
    """Return whether an expression is a clock's reading, or computed from one."""
    match node:
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCKS:
            return True
        case ast.Call(func=ast.Name(id=name), args=args):
            return name in RECKON and any(is_time(arg, made) for arg in args)
        case ast.Name(id=name):
            return name in made
        case ast.Call() | ast.Lambda():
            return False  # a function that gets a moment may return anything
        case _:
            return any(is_time(item, made) for item in ast.iter_child_nodes(node))


def made_of_clocks(function: Function) -> set[str]:
    """Return the names that hold a clock's reading, or a value computed from one."""
    made: set[str] = set()
    size = -1
    while len(made) > size:
        size = len(made)
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=targets, value=value):
                    into = set().union(*map(names, targets))
                case ast.AugAssign(target=target, value=value):
                    into = names(target)
                case ast.Call(func=ast.Attribute(value=target, attr="append"), args=[value]):
                    into = names(target)
                case _:
                    continue
            if is_time(value, made):
                made |= into
    return made


def compared(path: Path) -> Iterator[str]:
    """Yield the functions of a file that compare real time with anything."""
    text = path.read_text(encoding="utf-8")
    if not READS.search(text):
        return
    tree = ast.parse(text)
    given = [text for text in tree.body if isinstance(text, ast.Assign)]
    module = marks([text.value for text in given if "pytestmark" in names(text)])
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    for function in (node for node in functions if not is_virtual(node, module)):
        made = made_of_clocks(function)
        asserted = (node.test for node in ast.walk(function) if isinstance(node, ast.Assert))
        for item in (part for test in asserted for part in ast.walk(test)):
            if isinstance(item, ast.Compare) and is_time(item, made):
                yield function.name


@cache
def found(root: Path) -> set[str]:
    return {f"{path.name}: {name}" for path in root.rglob("*.py") for name in compared(path)}


def test_no_assertion_depends_on_the_wall_clock() -> None:
    allowed = {item for item in found(TESTS) if {item, item.partition(":")[0]} & set(ALLOWED)}

    assert found(TESTS) - allowed == set()


def test_each_exception_is_still_needed() -> None:
    seen = {part for item in found(TESTS) for part in (item, item.partition(":")[0])}

    assert set(ALLOWED) <= seen


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        ("assert time.monotonic() < 3", True),
        ("began = loop.time(); took = loop.time() - began; assert took < 1", True),
        ("late = []; late.append(time.monotonic()); assert sorted(late)[0] < 1", True),
        ("began = time.thread_time(); assert time.thread_time() - began < 1", False),
        ("now = time.monotonic(); assert stage.standing(now).usable == 1", False),
    ],
    ids=["read", "kept", "collected", "of a thread", "handed over"],
)
@pytest.mark.parametrize("mark", ["", "@pytest.mark.virtual_time\n"], ids=["real", "virtual"])
def test_an_assertion_on_time_is_found(
    body: str, mark: str, tmp_path: Path, *, is_one: bool
) -> None:
    (tmp_path / "it.py").write_text(f"{mark}async def test():\n    {body}\n", encoding="utf-8")

    assert bool(found(tmp_path)) == (is_one and not mark)
