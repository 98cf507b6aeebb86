"""Numbers that are not on the do-not-call list yet, stored in files that outlive the process.

One file per number. Several processes may read the same file, since listing a number twice is
harmless. A number that was listed, or taken back, has no file any more.
"""

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from loguru import logger

PART: Final = ".part"  # suffix of an incomplete file


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedNumber:
    """A number that must still be put on the list, because a person has asked for it."""

    call_id: str
    number: str
    source: str
    asked_s: float  # seconds since 1970
    dial_id: str = ""  # the campaign dial of that call; empty if there was none
    also: str = ""  # the other reading of an ambiguous number
    words: str = ""  # the words of the request


class OwedNumbers:
    """A folder of such numbers. All methods block.

    Raises:
        OSError: In `keep`, `has` and `drop`, if the disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unreadable: set[Path] = set()  # already logged

    def keep(self, owed: OwedNumber) -> None:
        """Write the file of a number atomically; only its owner may read it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path_of_number(owed)
        part = path.with_name(path.name + PART)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(owed), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def has(self, owed: OwedNumber) -> bool:
        """Return whether the file of a number is there."""
        try:
            self._path_of_number(owed).stat()
        except FileNotFoundError:
            return False
        return True

    def drop(self, owed: OwedNumber) -> None:
        """Delete the file of a number that was listed or taken back."""
        self._path_of_number(owed).unlink(missing_ok=True)

    def left(self, *, besides: Collection[str] = (), most: int) -> Sequence[OwedNumber]:
        """Return the numbers in the folder, the oldest first; unreadable files are logged and stay.

        Args:
            besides: Ids of calls whose numbers are left out.
            most: How many to return at most; the others wait for the next check.
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
                if path not in self._unreadable:  # once, because the folder is read every minute
                    logger.error("cannot read the number in {}: {}", path, type(error).__name__)
                    self._unreadable.add(path)
        return sorted(found, key=lambda number: number.asked_s)[: max(0, most)]

    def _path_of_number(self, owed: OwedNumber) -> Path:
        return self._folder / f"{owed.call_id}.json"
