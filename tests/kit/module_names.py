"""Finds strings in code that name one of our modules, which has another name in the wheel."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel

from configuration.settings import Settings
from scripts.count_structure import FOLDERS

ROOT = Path(__file__).parents[2]
MOVED = frozenset(FOLDERS) - {"holdline"}
# Code, or a command, in a string.
CODE = re.compile(r"\bfrom ([\w.]+) import\b|\bimport ([\w.]+) *(?:$|[;,])|-m ([\w.]+)")
# Functions whose first argument names a module or a package.
TAKES_A_MODULE = {"files", "find_spec", "getLogger", "import_module", "read_data", "resolve_name"}


@cache
def modules() -> frozenset[str]:
    found = set()
    for folder in MOVED:
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found |= {".".join(parts[: number + 1]) for number in range(len(parts))}
    return frozenset(found - set(FOLDERS))


def named_in_strings(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the strings that name one of our modules or folders, but for documentation."""
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Tuple | ast.List):
            yield from after_dash_m(node.elts)
        elif isinstance(node, ast.Call):
            yield from after_dash_m(node.args)
            function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            called = function.id if isinstance(function, ast.Name) else function
            if called in TAKES_A_MODULE and node.args and text_of(node.args[0]) in MOVED:
                yield node
    documented = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if text_of(node) and id(node) not in documented and names_a_module(text_of(node)):
            yield node


def after_dash_m(items: list[ast.expr]) -> Iterator[ast.expr]:
    for option, module in pairwise(items):
        if text_of(option) == "-m" and text_of(module).partition(".")[0] in MOVED:
            yield module


def text_of(node: ast.AST) -> str:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if is_text else ""


def names_a_module(text: str) -> bool:
    whole = re.match(r"([\w.]+)(:\w+)?$", text)
    if whole and whole[1] in modules():
        return not is_key(whole[1])
    return any(name in modules() | MOVED for names in CODE.findall(text) for name in names)


def is_key(name: str) -> bool:
    """Return whether the configuration has this key."""
    model = Settings
    for part in name.split("."):
        fields = model.model_fields if issubclass(model, BaseModel) else {}
        if part not in fields:
            return False
        model = fields[part].annotation or object
    return True
