"""The wheel, installed: it works without a checkout, among files that have our folders' names."""

import ast
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from uv import find_uv_bin

from scripts.count_structure import FOLDERS
from tests.bot.serving import free_port
from tests.kit.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
MOVED = frozenset(FOLDERS) - {"holdline"}
GUARD_S = 300.0
Run = Callable[..., subprocess.CompletedProcess[str]]

IMPORTED = """
import resource, sys
import holdline
seconds = resource.getrusage(resource.RUSAGE_SELF)
roots = {name.partition(".")[0] for name in sys.modules}
print(seconds.ru_utime + seconds.ru_stime)
print(*roots & {"fastapi", "sqlalchemy", "twilio", "livekit", "starlette", "aiortc"})
"""
# `import_all NAME ...`: imports all modules; extras that are not installed may be missing.
IMPORT_ALL = """
import importlib, pkgutil, sys
import holdline
missing = set()
for module in pkgutil.walk_packages(holdline.__path__, "holdline."):
    if module.name.endswith(".__main__") or ".migrations" in module.name:
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        missing.add((error.name or str(error)).partition(".")[0])
print(*missing - {"redis", "google", "opentelemetry", "asyncpg", "sounddevice"})
print(*{name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:]))
"""
CONFIG = """
server: {host: 127.0.0.1, workers: 1}
stages:
  stt: [{name: ears, kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: KEY}]
  tts: [{name: voice, kind: local}]
agent: {tools: [{entry_point: "bot:opening_hours"}]}
"""
DEEPGRAM = '{kind: deepgram, url: "ws://127.0.0.1:9", api_key_env: KEY}'
OWN_TOOL = '''
def opening_hours() -> str:
    """Return the opening hours."""
    return "from nine to five"
'''


def uv(*words: str | Path) -> None:
    """Run uv with the packages of its cache; with an index only for those not in it."""
    for options in (["--offline"], []):
        done = subprocess.run(  # noqa: S603 - ours
            [find_uv_bin(), *words, *options], capture_output=True, text=True, timeout=GUARD_S,
            check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return
    raise RuntimeError(done.stderr)


def install(folder: Path, wheel: str, *options: str | Path) -> Path:
    """Return the folder of programs of a new environment."""
    uv("venv", "--quiet", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    if "--no-deps" in options:
        hashed = ("--require-hashes", "--requirement", LOCK)
        uv("pip", "install", "--quiet", "--python", python, *hashed)
    uv("pip", "install", "--quiet", "--python", python, *options, wheel)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("wheel"))
    return next(WheelBuilder(str(ROOT)).build(directory=folder, versions=["standard"]))


@pytest.fixture(scope="module")
def server(wheel: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with the locked packages."""
    return install(tmp_path_factory.mktemp("server"), wheel, "--no-deps")


@pytest.fixture(scope="module")
def library(wheel: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel with what it requires, without an extra."""
    return install(tmp_path_factory.mktemp("library"), wheel, "--constraint", LOCK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of someone who has modules with the names of our folders."""
    for name in MOVED - {"bot"}:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('own {name}')\n")
    (tmp_path / "bot.py").write_text(OWN_TOOL)
    (tmp_path / "holdline.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def without_words(folder: Path) -> None:
    """Configure a recogniser that needs no extra."""
    text = CONFIG.replace("{name: ears, kind: local}", DEEPGRAM)
    (folder / "holdline.yaml").write_text(text)


@pytest.fixture
def run(folder: Path) -> Run:
    """Return a function that runs a program in that folder."""

    def run_program(*words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "KEY": "k"}
        return subprocess.run(  # noqa: S603 - ours
            list(words), cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=GUARD_S, check=False,
        )  # fmt: skip

    return run_program


def test_the_library_is_imported_at_once_and_without_a_servers_packages(
    server: Path, run: Run
) -> None:
    done = run(server / "python", "-c", IMPORTED)

    seconds, loaded = done.stdout.splitlines()
    assert float(seconds) < 0.5, done.stdout  # of a processor, with Python's own start
    assert loaded == ""


def test_all_modules_are_imported_under_their_new_names(server: Path, run: Run) -> None:
    done = run(server / "python", "-W", "ignore", "-c", IMPORT_ALL, *MOVED)

    assert done.stdout.split() == [], done.stdout + done.stderr


def test_no_import_in_the_wheel_names_a_folder(wheel: str) -> None:
    """Imports inside functions do not run when a module is imported."""
    with zipfile.ZipFile(wheel) as archive:
        modules = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    left = {
        (name, module.partition(".")[0])
        for name, source in modules.items()
        for module in imports(ast.parse(source))
    }

    assert len(modules) > 500
    assert {(name, module) for name, module in left if module in MOVED} == set()


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-m", "holdline", "--version"), "holdline 0."),
        (("-m", "holdline", "doctor"), "ok      tool bot:opening_hours: loads"),
        (("-m", "holdline", "db", "upgrade"), "did not exist and was created at"),
        (("-m", "holdline", "texts", "--language", "fr"), "goodbye:"),
        (("-m", "holdline", "say", "Hello", "--out", "hello.wav"), ""),
        (("-m", "holdline", "drill", "--baseline", "stock-pipecat"), "needs Holdline's source"),
    ],
    ids=lambda value: value[2] if isinstance(value, tuple) else "",
)
def test_commands_work_beside_modules_with_our_folders_names(
    server: Path, run: Run, words: tuple[str, ...], told: str
) -> None:
    done = run(server / "python", *words)

    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "own " not in done.stderr


async def test_workers_answer_and_load_an_owners_module_that_is_called_bot(
    server: Path, folder: Path
) -> None:
    port = free_port()
    process = subprocess.Popen(  # noqa: S603, ASYNC220 - ours
        [server / "holdline", "serve", "--port", str(port)], cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "KEY": "k"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        await until(
            lambda: is_served(f"http://127.0.0.1:{port}/client/"), within_s=120, every_s=0.2
        )
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=GUARD_S)

    assert process.returncode == 0, said
    assert "Traceback" not in said


def is_served(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.long
def test_a_demo_runs_without_a_checkout(server: Path, run: Run) -> None:
    done = run(server / "holdline", "demo", "--campaign", "--contacts", "1", "--port", "0")

    assert done.returncode == 0, done.stderr
    assert "Ledger, report, CRM and carrier agree" in done.stdout


@pytest.mark.usefixtures("without_words")
@pytest.mark.parametrize("command", [("demo",), ("serve",), ("db", "upgrade"), ("inbox",)], ids=str)
def test_a_servers_command_names_the_extra_that_is_missing(
    library: Path, run: Run, command: tuple[str, ...]
) -> None:
    done = run(library / "holdline", *command)

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert 'pip install "holdline[server]"' in line
    assert str(library) in line  # the Python of this installation
    assert line.endswith('for the demo, pipx run --spec "holdline[server]" holdline demo')


@pytest.mark.usefixtures("without_words")
@pytest.mark.parametrize("command", [("--help",), ("texts", "--language", "fr")], ids=str)
def test_what_needs_no_server_works_without_its_packages(
    library: Path, run: Run, command: tuple[str, ...]
) -> None:
    done = run(library / "holdline", *command)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_brings_none_of_a_servers_packages(library: Path, run: Run) -> None:
    code = "import importlib.metadata as m; print(*(item.name for item in m.distributions()))"
    done = run(library / "python", "-c", code)
    present = {name.lower().replace("_", "-") for name in done.stdout.split()}

    assert "pipecat-ai" in present
    assert present & {"fastapi", "sqlalchemy", "twilio", "livekit", "uvicorn", "aiortc"} == set()
