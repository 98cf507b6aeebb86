"""Fetches the recordings of people reading that `benchmarks/turn_latency.py` plays.

    .venv/bin/python scripts/fetch_read_clips.py [--to FOLDER]

They are in Debian's package `pocketsphinx-testdata`, which is downloaded with apt-get and unpacked,
not installed. They are not in the repository.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "pocketsphinx-testdata"


def main() -> int:
    """Download, unpack and copy; return 0, or print the problem in one line and return 1."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.read_clips import CLIPS, FOLDER  # noqa: PLC0415 - after the path

    parser = argparse.ArgumentParser(description="Fetch recordings of people reading.")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="FOLDER")
    to: Path = parser.parse_args().to
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed: unpack Debian's {PACKAGE} yourself, into {to}")
            return 1
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run("apt-get", "download", PACKAGE, cwd=folder)
            (package,) = Path(folder).glob(f"{PACKAGE}_*.deb")
            _run("dpkg-deb", "-x", str(package), "files", cwd=folder)
        except (subprocess.CalledProcessError, ValueError) as failed:
            print(f"{PACKAGE} cannot be fetched: {failed}; try apt-get update first")
            return 1
        to.mkdir(parents=True, exist_ok=True)
        for name in CLIPS:
            (found,) = (Path(folder) / "files").rglob(name)
            shutil.copyfile(found, to / name)
    print(f"{len(CLIPS)} clips are in {to}")
    return 0


def _run(*command: str, cwd: str) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)  # noqa: S603 - as written above


if __name__ == "__main__":
    sys.exit(main())
