"""Numbers that the do-not-call list has not taken yet, on the disk: they outlive the process.

A file each. Several processes may find the same one: being listed twice is being listed once.
"""

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from loguru import logger

PART: Final = ".part"  # behind the name of what is not whole yet


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedNumber:
    """A number that is to be put on the list, as its owner asked for."""

    call_id: str
    number: str
    source: str
    asked_s: float  # since 1970
    dial_id: str = ""  # the dial by which a campaign has called them; empty: none has


class OwedNumbers:
    """A folder of them. All of it blocks.

    Raises:
        OSError: From `keep` and `drop`; the disk did not do it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unreadable: set[Path] = set()  # of which it is logged

    def keep(self, owed: OwedNumber) -> None:
        """Have one on the disk, whole."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(owed)
        part = path.with_name(path.name + PART)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(owed), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def drop(self, owed: OwedNumber) -> None:
        """Leave nothing of one that is listed."""
        self._path(owed).unlink(missing_ok=True)

    def left(self, *, besides: Collection[str] = (), most: int) -> Sequence[OwedNumber]:
        """Return those that are there, the oldest first; what cannot be read is logged and stays.

        Args:
            besides: Calls whose numbers are left out.
            most: How many at most; the others wait for the next look.
        """
        found: list[OwedNumber] = []
        for path in sorted(self._folder.glob("*.json")):
            if path.stem in besides:
                continue
            try:
                found.append(OwedNumber(**json.loads(path.read_text(encoding="utf-8"))))
            except FileNotFoundError:  # another process has listed it
                continue
            except (OSError, ValueError, TypeError) as error:
                if path not in self._unreadable:  # once, for it is looked at each minute
                    logger.error("{} is not a number to be listed: {}", path, type(error).__name__)
                    self._unreadable.add(path)
        return sorted(found, key=lambda each: each.asked_s)[: max(0, most)]

    def _path(self, owed: OwedNumber) -> Path:
        return self._folder / f"{owed.call_id}.json"
