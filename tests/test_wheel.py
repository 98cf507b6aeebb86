"""The wheel has one top-level package, `holdline`, into which all folders move."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from scripts.count_structure import FOLDERS
from scripts.one_package import move_imports

ROOT = Path(__file__).parents[1]
MOVED = frozenset(FOLDERS) - {"holdline"}


MOVES = {
    "from bot import clock": "from holdline.bot import clock",
    "from configuration.errors import shown": "from holdline.configuration.errors import shown",
    "from lab.x import (\n    a,\n)": "from holdline.lab.x import (\n    a,\n)",
    "import bot": "import holdline.bot as bot",
    "import calls.turn as bot, os": "import holdline.calls.turn as bot, os",
    "import os, bot, lab": "import os, holdline.bot as bot, holdline.lab as lab",
    "def f():\n    from lab import x": "def f():\n    from holdline.lab import x",
    "é = 'é'; from bot import x  # é": "é = 'é'; from holdline.bot import x  # é",
    "from bot import x; import lab": "from holdline.bot import x; import holdline.lab as lab",
    "from bot import x\r\nx = 1\r\n": "from holdline.bot import x\r\nx = 1\r\n",
}
KEPT = (
    "from bots import x",
    "from holdline.ladders import Ladders",
    "from . import bot",
    "from .bot import x",
    "from pipecat.bot import x",
    "import pipecat.bot",
    "'from bot import x'  # from bot import x",
    "bot = calls.lab(bot='bot.x')",
)


@pytest.mark.parametrize(("source", "moved"), [*MOVES.items(), *zip(KEPT, KEPT, strict=True)])
def test_imports_move_and_nothing_else(source: str, moved: str) -> None:
    assert move_imports(source, MOVED) == moved


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import bot.config", "line 1: write `from bot.config import`, or `as`"),
        ("x = 1\nimport os, lab.x", "line 2: write `from lab.x import`, or `as`"),
        ("from  bot import x", "line 1: write `from bot import` with one space"),
        ("from \\\n  bot import x", "line 1: write `from bot import` with one space"),
    ],
)
def test_an_import_that_cannot_move_ends_the_build_with_its_line(source: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        move_imports(source, MOVED)


def build(folder: Path, version: str) -> zipfile.ZipFile:
    (artifact,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=[version])
    return zipfile.ZipFile(artifact)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return build(tmp_path_factory.mktemp("wheel"), "standard")


def test_the_wheel_has_one_top_level_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}

    assert {name for name in tops if not name.endswith(".dist-info")} == {"holdline"}


def test_the_wheel_has_every_file_of_the_folders_once(wheel: zipfile.ZipFile) -> None:
    present = [name for name in wheel.namelist() if ".dist-info/" not in name]
    ours = [
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]

    assert sorted(present) == sorted(
        str(path if path.parts[0] == "holdline" else Path("holdline") / path) for path in ours
    )


def test_an_editable_installation_is_the_checkout(tmp_path: Path) -> None:
    wheel = build(tmp_path, "editable")
    (path_file,) = (name for name in wheel.namelist() if ".dist-info/" not in name)

    assert set(wheel.read(path_file).decode().split()) == {str(ROOT)}


def test_setup_installs_all_that_a_server_and_its_demo_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    names = {re.split(r"[\[<>=]", item)[0] for item in (*extras["server"], *extras["mic"])}

    assert set(extras["words"]) <= set(extras["server"])
    assert {name for name in names if not re.search(rf"^{name}==", locked, re.MULTILINE)} == set()
