"""Checks files before a commit: for a newline at the end, their size, and keys in them."""

import re
import sys
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 1_500_000  # somewhat more than the largest recorded caller
KEYS: Final = re.compile(
    rb"sk-[A-Za-z0-9_-]{20,}|sk_[a-f0-9]{40,}|sk_car_[A-Za-z0-9]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)


def problems(path: Path) -> list[str]:
    """Return the problems of one file, each as a line of text."""
    content = path.read_bytes()
    found: list[str] = []
    if len(content) > LIMIT_BYTES:
        found.append(f"{path}: {len(content)} bytes, more than {LIMIT_BYTES}")
    if b"\0" in content[:8192]:  # not a text file
        return found
    if content and not content.endswith(b"\n"):
        found.append(f"{path}: no newline at its end")
    if KEYS.search(content):
        found.append(f"{path}: looks like a key; keys belong in the environment or .env")
    return found


def main() -> int:
    """Print every problem of the named files; return 1 if there is one."""
    found = [problem for name in sys.argv[1:] for problem in problems(Path(name))]
    sys.stdout.write("".join(f"{item}\n" for item in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
