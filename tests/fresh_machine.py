"""Runs this Python as on a fresh machine: `.venv/bin/python tests/fresh_machine.py -m pytest ...`.

In a mount namespace of its own it sees Debian's base system, make and itself, and no other program,
library or file in /usr and /opt; its home folder and its environment are empty. The machine is not
changed. Needs root, and Debian.
"""

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

INSIDE: Final = "FRESH_MACHINE"  # in the namespace: a folder of its own
ROOTS: Final = ("make", "python3", "python3-venv")  # and packages that every Debian has
USR: Final = Path("/usr")
PYTHON: Final = Path(sys.base_prefix)
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
FIELDS: Final = "${Package}\t${Essential}\t${Priority}\t${Provides}\t${Pre-Depends}, ${Depends}\n"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


def names(relation: str) -> list[str]:
    """Return the package names in a relationship field of dpkg, without versions."""
    return re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", relation)


def base_packages() -> set[str]:
    """Return the installed packages that every Debian has, and those that make and Python need."""
    rows = [row.split("\t") for row in output("dpkg-query", "-W", f"-f={FIELDS}").splitlines()]
    installed = {row[0] for row in rows}
    needs = {name: names(depends) for name, _, _, _, depends in rows}
    for name, _, _, provides, _ in rows:
        for virtual in names(provides):
            needs.setdefault(virtual, []).append(name)
    wanted = [row[0] for row in rows if row[1] == "yes" or row[2] == "required"]
    wanted += installed.intersection(ROOTS)
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += needs.get(name, [])
    return found & installed


def kept_files() -> set[Path]:
    """Return the files in /usr that a fresh machine has, and all their parent folders."""
    listed = map(Path, output("dpkg-query", "-L", *base_packages()).splitlines())
    files = {file if file.is_relative_to(USR) else USR / str(file)[1:] for file in listed}
    files |= {link for link in USR.glob("bin/*") if is_alternative(link, files)}
    if PYTHON != USR and PYTHON.is_relative_to(USR):  # such as /usr/local
        files |= {file for file in PYTHON.rglob("*") if "python" in str(file.relative_to(PYTHON))}
    return files | {folder for file in files for folder in file.parents}


def is_alternative(link: Path, files: set[Path]) -> bool:
    """Return whether a link leads through /etc/alternatives to a file that is kept."""
    through = link.is_symlink() and link.readlink().is_relative_to("/etc/alternatives")
    return through and link.resolve() in files


def surplus(folder: Path, kept: set[Path]) -> Iterator[Path]:
    """Yield the files to hide in a folder, and the folders without a kept file."""
    for path in folder.iterdir():
        if path not in kept:
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from surplus(path, kept)


def hide(paths: Iterable[Path], scratch: Path) -> None:
    """Mount an overlay on /usr in which these paths are missing; empty /opt."""
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir()
    work.mkdir()
    for path in paths:
        whiteout = upper / path.relative_to(USR)
        whiteout.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(whiteout, stat.S_IFCHR, os.makedev(0, 0))  # overlayfs: no such file
    layers = f"lowerdir={USR},upperdir={upper},workdir={work}"
    output("mount", "-t", "overlay", "overlay", "-o", layers, str(USR))
    cache = scratch / "ld.so.cache"
    output("ldconfig", "-C", str(cache))  # the machine's own names libraries that are hidden now
    output("mount", "--bind", str(cache), "/etc/ld.so.cache")
    output("mount", "-t", "tmpfs", "tmpfs", "/opt")


def run_inside(scratch: Path) -> int:
    output("mount", "-t", "tmpfs", "tmpfs", str(scratch))
    hide(list(surplus(USR, kept_files())), scratch)
    home = scratch / "home"
    home.mkdir()
    environment = {"PATH": PATH, "HOME": str(home), "LANG": "C.UTF-8", INSIDE: str(scratch)}
    environment["HYPOTHESIS_PROFILE"] = "mutants"  # few examples: the machine is under test
    command = [sys.executable, *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 (ours)


def main() -> int:
    if scratch := os.environ.get(INSIDE):
        return run_inside(Path(scratch))
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        sys.exit("holdline: only root can imitate a fresh machine, and only on Debian")
    with tempfile.TemporaryDirectory() as folder:
        enter = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        environment = os.environ | {INSIDE: folder}
        return subprocess.run(enter, env=environment, check=False).returncode  # noqa: S603 (ours)


if __name__ == "__main__":
    sys.exit(main())
