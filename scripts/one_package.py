"""Builds a wheel with one top-level package: `bot/x.py` here becomes `holdline/bot/x.py` in it.

Hatchling calls `OnePackage`; `pyproject.toml` lists the folders. Only import statements are
rewritten: the code asks Python for its own package wherever it needs a module's name, or the folder
on the import path (`__package__`, `__name__`). An editable installation stays as the checkout is.
"""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE: Final = "holdline"
FROM: Final = len("from ")


def move_imports(source: str, folders: Collection[str]) -> str:
    """Return the source with the imports of modules in these folders below `PACKAGE`.

    Raises:
        ValueError: An import has no equivalent: `import bot.call` defines the name `bot`.
    """
    lines = source.encode().splitlines(keepends=True)  # the columns of `ast` count bytes
    for line, column, old, new in sorted(_changes(ast.parse(source), folders), reverse=True):
        before, after = lines[line - 1][:column], lines[line - 1][column:]
        if not after.startswith(old.encode()):
            raise ValueError(f"line {line}: write `from {old} import` with one space")
        lines[line - 1] = before + new.encode() + after.removeprefix(old.encode())
    return b"".join(lines).decode()


def _changes(tree: ast.Module, folders: Collection[str]) -> Iterator[tuple[int, int, str, str]]:
    """Yield the line, the column, the old and the new text of each module's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            name = node.module or ""
            if name.partition(".")[0] in folders:
                yield node.lineno, node.col_offset + FROM, name, f"{PACKAGE}.{name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in folders:
                    yield alias.lineno, alias.col_offset, alias.name, _renamed(alias)


def _renamed(alias: ast.alias) -> str:
    if alias.asname:
        return f"{PACKAGE}.{alias.name}"
    if "." in alias.name:
        raise ValueError(f"line {alias.lineno}: write `from {alias.name} import`, or `as`")
    return f"{PACKAGE}.{alias.name} as {alias.name}"


class OnePackage(BuildHookInterface[Any]):
    """The hook: maps the folders, and replaces modules by rewritten ones."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare a wheel; do nothing for an editable installation."""
        if version == "editable":
            return
        config = self.build_config
        folders = [folder for folder in config.packages if folder != PACKAGE]
        config.target_config["sources"] = {item: f"{PACKAGE}/{item}" for item in folders}
        self._rewritten = TemporaryDirectory()
        for file in config.builder.recurse_selected_project_files():
            if not file.path.endswith(".py"):
                continue
            try:
                moved = move_imports(Path(file.path).read_text("utf-8"), folders)
            except ValueError as error:
                raise ValueError(f"{file.relative_path}: {error}") from error
            copy = Path(self._rewritten.name, file.relative_path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(moved, "utf-8")
            build_data["force_include"][str(copy)] = file.relative_path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the rewritten modules."""
        if version != "editable":
            self._rewritten.cleanup()
