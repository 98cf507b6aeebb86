"""Tells code of Holdline and of an owner from that of libraries."""

import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LIBRARIES: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OURS: Final = f"{Path(__file__).parents[1]}/"  # in a library's folder if installed from a wheel


def innermost_own(files: Iterable[str]) -> int:
    """Return the index of the first file that belongs to no library; 0 if all of them do.

    Args:
        files: The files of a call stack, innermost function first.
    """
    own = (
        index
        for index, file in enumerate(files)
        if not file.startswith((*_LIBRARIES, "<"))  # such as `<frozen runpy>`
        or (_OURS.startswith(_LIBRARIES) and file.startswith(_OURS))
    )
    return next(own, 0)
