"""Finds the place in the code where a thread is; tells our and an owner's code from libraries."""

import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate, chain, islice, repeat
from operator import attrgetter, methodcaller
from pathlib import Path
from types import CodeType
from typing import Final

MAX_FRAMES: Final = 1000

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


def stack_of(thread: int) -> list[tuple[CodeType, int | None]]:
    """Return the functions in which a thread is, with their lines, innermost first.

    At most `MAX_FRAMES`; empty if the thread has ended.

    The frames are read and released in a single bytecode (`extend`), during which no other thread
    runs. As long as a frame is referenced, so are its variables, also those of other threads, which
    then cannot extend their audio buffers. And a frame that its thread has left meanwhile has no
    certain caller: a process of Python 3.11 has crashed in `f_back` of another thread's frame.
    """
    all_frames = iter(sys._current_frames, None)  # noqa: SLF001 - documented in `sys` for such use
    innermost = islice(map(methodcaller("get", thread), all_frames), 1)
    frames = accumulate(chain(innermost, repeat("f_back", MAX_FRAMES - 1)), getattr)
    found: list[tuple[CodeType, int | None]] = []
    with suppress(AttributeError):  # `None` is below the outermost frame
        found.extend(map(attrgetter("f_code", "f_lineno"), frames))
    return found
