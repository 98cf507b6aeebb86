"""What a process asks of Python and of the C library, so that it serves callers well for weeks."""

import ctypes
import gc
import sys
from asyncio import selector_events
from typing import Final

SWITCH_S: Final = 0.0005  # chosen: a tenth of Python's own 5 ms

READ_BYTES: Final = 32 << 10  # chosen: a second of a voice's sound; a message more is read in turns
M_ARENA_MAX: Final = -8  # a parameter of glibc's mallopt (malloc.h)
ARENAS: Final = 2  # chosen: the loop's, and one for all threads beside it


def serve_the_loop_first() -> None:
    """Have the threads that compute give the interpreter back to the loop sooner.

    The loop lets go of it with each packet that it sends. A detector's thread may then keep it for
    `sys.getswitchinterval()`, 5 ms, and again with the next packet: with eight calls at once a
    third of the loop's time was that waiting (profiled).
    """
    sys.setswitchinterval(SWITCH_S)


def spare_the_loaded() -> None:
    """Exempt what is loaded by now from the garbage collector's rounds (`gc.freeze`).

    A full round over Pipecat and the providers' libraries takes 0.05 to 0.2 s (measured on two busy
    cores by benchmarks/turn_latency.py), and no caller is served meanwhile.
    """
    gc.collect()
    gc.freeze()


def read_in_small_pieces() -> None:
    """Have the loop read 32 kB of a socket at once, and not 256.

    For each read Python takes a block of that size and gives back what was not filled. What then
    settles at the block's begin leaves a hole that is too small for the next read: 256 kB a minute
    that nobody uses, in a worker with eight calls (a walk over its heap; docs/decisions/0004).
    """
    selector_events._SelectorTransport.max_size = READ_BYTES  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way


def share_heaps() -> bool:
    """Have all threads but the loop's share one heap; return whether the C library was told.

    glibc gives each thread a heap of its own, up to eight for each core, and what one frees is used
    by no other: a server with many threads that seldom work holds what each of them once needed.
    Another C library has no such habit, and no `mallopt`.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_ARENA_MAX, ARENAS))
