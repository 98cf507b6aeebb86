"""Builds the Dockerfile's image on a machine without a container engine, and tries the result.

    sudo .venv/bin/python scripts/try_image.py [FOLDER]

With a folder, the result is kept there; if it already exists, it is only tried.

Each stage's COPY, RUN and ENV are carried out in a separate mount namespace, with this machine's
Python at /usr/local and new folders at /app and /data, as in the image. Then the program runs as
the image's user, without capabilities, on a read-only root, in a separate network namespace. Four
things are checked: it is healthy by the image's own HEALTHCHECK, SIGHUP replaces its worker,
SIGTERM ends it with 0, and it refuses to start without a token. The base image, its layers and its
seccomp profile are not tested. Needs root, Linux, util-linux, and the network.
"""

# ruff: noqa: S603, S108 - it runs programs of this machine, as an image build does

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
INSIDE: Final = "--inside"  # this program was started again, in its own mount namespace
SERVING: Final = "--serving"  # and then in its own network namespace
BUILT: Final = ".built"  # the file that marks a finished result in its folder
TOKEN: Final = "a-token-of-this-trial"  # noqa: S105 - for this trial only
WAIT_S: Final = 90.0
CHECK_EVERY_S: Final = 0.5
PASSED_ON: Final = re.compile(
    r"(?i)(?:pip|uv)_(?!cache|no_cache).*|(?:https?|no)_proxy|ssl_cert_file"
)
CONFIG: Final = """
server: {workers: 1}
stages:
  stt: [{name: ears, kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: OPENAI_API_KEY}]
  tts: [{name: voice, kind: local}]
transports: {twilio: {enabled: false}}
storage: {url: "sqlite+aiosqlite:////data/holdline.db"}
"""


@dataclass
class ImageStage:
    """The relevant parts of one stage of the Dockerfile."""

    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)  # ENTRYPOINT, CMD, HEALTHCHECK


def stages_of(text: str) -> Sequence[ImageStage]:
    """Return the stages of a Dockerfile."""
    found: list[ImageStage] = []
    for name, rest in instructions(text):
        match name:
            case "FROM":
                found.append(ImageStage())
            case "ENV" | "COPY" | "RUN" | "WORKDIR":
                found[-1].steps.append((name, rest))
            case "USER":
                found[-1].user = rest
            case _:
                found[-1].said[name] = rest
    return found


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction and its arguments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            yield name, " ".join(rest.split())


def build(stage: ImageStage) -> None:
    """Carry out a stage's steps in this mount namespace, and keep its environment and folder."""
    environment = {
        "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LD_LIBRARY_PATH": "/usr/local/lib",  # this machine's Python was built for another path
    }
    surroundings = os.environ  # noqa: TID251 - proxies and certificates, as an engine passes
    outside = {name: value for name, value in surroundings.items() if PASSED_ON.fullmatch(name)}
    for name, rest in stage.steps:
        match name:
            case "ENV":
                environment |= variables(rest, environment)
            case "WORKDIR":
                stage.folder = rest
                Path(rest).mkdir(parents=True, exist_ok=True)
            case "COPY" if not rest.startswith("--from"):
                copy(rest.split(), Path(stage.folder))
            case "RUN":
                emit(f"RUN {rest[:100]}")
                program = ["/bin/sh", "-c", rest]
                subprocess.run(program, check=True, cwd=stage.folder, env=outside | environment)
    stage.environment = environment


def variables(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that an ENV sets."""
    pairs = (word.partition("=") for word in text.split() if "=" in word)
    return {name: value.strip('"').replace("$PATH", known["PATH"]) for name, _, value in pairs}


def copy(words: Sequence[str], folder: Path) -> None:
    """Carry out a COPY, whose last word is the target; exit if .dockerignore excludes a source."""
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    *sources, target = words
    for item in sources:
        if item not in allowed:
            sys.exit(f"{item} is copied by the Dockerfile but excluded by .dockerignore")
        source, place = ROOT / item, folder / target
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__", ".env"))
        else:
            place = place / source.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)


def try_stage(stage: ImageStage) -> None:
    """Run the result as a container of the image would, and check it; exit at the first failure."""
    command = json.loads(stage.said["ENTRYPOINT"]) + json.loads(stage.said["CMD"])
    health = json.loads(stage.said["HEALTHCHECK"].partition("CMD ")[2])
    uid, _, gid = stage.user.partition(":")
    drop = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs",
            "--bounding-set=-all", "--inh-caps=-all")  # fmt: skip
    environment = stage.environment | {"HOME": "/data", "OPENAI_API_KEY": "none"}
    Path("/data/holdline.yaml").write_text(CONFIG)

    def run_as_user(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*drop, *words],
            check=False,
            cwd="/data",
            env=environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )

    refused = run_as_user(command)
    emit(refused.stderr.strip() or "no error message")
    expect(refused.returncode == 2 and "HOLDLINE_TOKEN" in refused.stderr, "no token: exit code 2")
    environment["HOLDLINE_TOKEN"] = TOKEN
    emit(" ".join(command))
    process = subprocess.Popen([*drop, *command], cwd="/data", env=environment)
    try:
        expect(until(lambda: run_as_user(health).returncode == 0), "it is healthy")
        try_signals(process)
    finally:
        process.kill()
    written = [path for path in Path("/data").rglob("*") if path.name != "holdline.yaml"]
    expect(
        {path.stat().st_uid for path in written} == {int(uid)},
        "the files that it wrote belong to it",
    )


def try_signals(process: subprocess.Popen[bytes]) -> None:
    """Make the server replace its worker, then stop it."""
    log = Path("/data/logs/holdline.log")
    process.send_signal(signal.SIGHUP)
    expect(until(lambda: "all workers were replaced" in log.read_text()), "SIGHUP replaces")
    process.send_signal(signal.SIGTERM)
    expect(process.wait(WAIT_S) == 0, "SIGTERM ends it with 0")


def until(holds: Callable[[], bool], within_s: float = WAIT_S) -> bool:
    """Wait until a condition holds; return whether it did in time."""
    for _ in range(round(within_s / CHECK_EVERY_S)):
        if holds():
            return True
        time.sleep(CHECK_EVERY_S)
    return False


def expect(is_met: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Print whether an expectation is met, and exit with 1 if it is not."""
    emit(f"{'ok' if is_met else 'FAILED'}: {what}")
    if not is_met:
        sys.exit(1)


def emit(line: str) -> None:
    """Print the current step."""
    print(f"try_image: {line}", flush=True)


def run(*words: str) -> None:
    """Run a program of this machine."""
    subprocess.run(words, check=True)


def build_inside(work: Path) -> None:
    """Mount the image's folders over this machine's, in this namespace; then build and try.

    Exits with the trial's exit code.
    """
    for name in ("etc", "data", "tmp"):  # from the last run
        shutil.rmtree(work / name, ignore_errors=True)
    shutil.copytree("/etc", work / "etc", symlinks=True)
    places = {"/usr/local": Path(sys.base_prefix), "/etc": work / "etc"}
    built = (work / BUILT).exists()
    for name in ("app", "data", "tmp"):
        (work / name).mkdir(exist_ok=True)
    places |= {"/app": work / "app", "/data": work / "data"}
    for place, source in places.items():
        run("mount", "--bind", str(source), place)
    stages = stages_of((ROOT / "Dockerfile").read_text())
    for stage in stages[-1:] if built else stages:
        build(stage)
    (work / BUILT).touch()
    shutil.copy(__file__, "/etc/try_image.py")  # /tmp is about to be replaced
    run("chown", "10001:10001", "/data")
    run("chmod", "1777", str(work / "tmp"))
    run("mount", "--bind", str(work / "tmp"), "/tmp")
    for item in ("/app", "/etc", "/usr/local", "/"):
        run("mount", "-o", "remount,bind,ro", item)
    program = ("/usr/local/bin/python3", "/etc/try_image.py")
    os.chdir("/")
    command = ["unshare", "--net", *program, SERVING, json.dumps(vars(stages[-1]))]
    sys.exit(subprocess.run(command, check=False).returncode)


def main() -> None:
    """Start this program again in new namespaces; there, build or try the image."""
    if SERVING in sys.argv:
        run("ip", "link", "set", "lo", "up")
        try_stage(ImageStage(**json.loads(sys.argv[-1])))
        return
    if INSIDE in sys.argv:
        build_inside(Path(sys.argv[-1]))
        return
    if os.geteuid() != 0 or not shutil.which("unshare"):
        sys.exit("try_image: needs root on Linux, with util-linux; nothing was tried")
    created = [path for path in (Path("/app"), Path("/data")) if not path.exists()]
    for item in created:
        item.mkdir()
    try:
        if sys.argv[1:]:
            work = Path(sys.argv[1]).absolute()
            work.mkdir(parents=True, exist_ok=True)
            sys.exit(try_in(work))
        with tempfile.TemporaryDirectory(prefix="holdline-image-") as work:
            Path(work).chmod(0o755)
            sys.exit(try_in(Path(work)))
    finally:
        for item in created:
            item.rmdir()


def try_in(work: Path) -> int:
    """Build and try in a folder; return the exit code."""
    program = (sys.executable, str(Path(__file__).resolve()))
    command = ["unshare", "--mount", *program, INSIDE, str(work)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    main()
