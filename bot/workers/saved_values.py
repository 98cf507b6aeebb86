"""Values of the key-value store that outlive the supervisor, in a file of its own.

The console's sessions are there: operators stay signed in when the server restarts in the middle of
an outage. It is a file because the database may be what fails. Only its owner may read it.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loguru import logger

MAX_SAVED_BYTES: Final = (
    2_000_000  # a thousand sessions are about 0.4 MB; a larger file is not ours
)
MAX_LEFT_S: Final = 86_400.0  # chosen: if the clock was set back, no value lives longer than this


@dataclass(slots=True, kw_only=True)
class SavedValues:
    """One kind of values, saved after each change.

    Attributes:
        kind: The values' kind.
        path: The file.
        utc_s: The time of day, in seconds since 1970.
    """

    kind: str
    path: Path
    utc_s: Callable[[], float]
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def load(self) -> Mapping[str, tuple[float, Any]]:
        """Return how long each value is still valid, in seconds, and the value; blocks.

        Empty if there is no file, or if it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                rows = json.loads(file.read(MAX_SAVED_BYTES))
            now = self.utc_s()
            left = {str(token): (float(until) - now, value) for token, until, value in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning("{} cannot be read, so operators sign in again: {}", self.path, error)
            return {}
        return {
            token: (min(left_s, MAX_LEFT_S), value)
            for token, (left_s, value) in left.items()
            if left_s > 0 and token.startswith(f"{self.kind} ")
        }

    async def save(self, left: Callable[[], Mapping[str, tuple[float, Any]]]) -> None:
        """Save the values that `left` returns, in the format of `load`.

        If they cannot be saved, the file is removed: no value that was dropped may come back.
        """
        async with self._writing:
            now = self.utc_s()
            rows = [(token, now + left_s, value) for token, (left_s, value) in left().items()]
            await asyncio.to_thread(self._replace_file, json.dumps(rows))

    def _replace_file(self, text: str) -> None:
        """Replace the file as a whole, or remove it if it cannot be written; blocks."""
        partial = ""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # `mkstemp` makes a file that only its owner may read.
            handle, partial = tempfile.mkstemp(prefix=f".{self.path.name}-", dir=self.path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(self.path)
        except OSError as error:
            logger.warning(
                "{} cannot be written; a restart signs operators out: {}", self.path, error
            )
            for path in filter(None, (partial, str(self.path))):
                with suppress(OSError):
                    Path(path).unlink()
