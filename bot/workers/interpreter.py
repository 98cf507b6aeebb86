"""Settings of Python and the C library, and of garbage, for a server that runs for weeks."""

import asyncio
import ctypes
import gc
import sys
from asyncio import selector_events
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from operations.keep_running import at_work, keep_running

SWITCH_S: Final = 0.0005  # chosen: a tenth of Python's own 5 ms

READ_BYTES: Final = 32 << 10  # chosen: one second of speech; longer messages take several reads
M_ARENA_MAX: Final = -8  # a parameter of glibc's mallopt (malloc.h)
ARENAS: Final = 2  # chosen: one for the loop, one for all other threads


def serve_the_loop_first() -> None:
    """Let computing threads return the interpreter lock to the loop sooner.

    The loop releases the lock with each packet that it sends. A detector's thread may then keep it
    for `sys.getswitchinterval()`, 5 ms, and again with the next packet. With eight calls at once,
    the loop spent a third of its time waiting for the lock (profiled).
    """
    sys.setswitchinterval(SWITCH_S)


def spare_the_loaded() -> None:
    """Exempt all loaded objects from garbage collection (`gc.freeze`).

    A full collection over Pipecat and the providers' libraries takes 0.05 to 0.2 s (measured on two
    busy cores by benchmarks/turn_latency.py), and no caller is served meanwhile.
    """
    gc.collect()
    gc.freeze()


def read_in_small_pieces() -> None:
    """Let the loop read at most 32 kB of a socket at once, not 256.

    For each read, Python allocates a block of that size and returns what was not filled. An
    allocation that then lands at the block's start leaves a hole too small for the next read: 256
    kB of unused memory a minute in a worker with eight calls (from a heap walk;
    docs/decisions/0004).
    """
    selector_events._SelectorTransport.max_size = READ_BYTES  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way


def share_heaps() -> bool:
    """Let all threads but the loop's share one heap; return whether the C library accepted this.

    glibc gives each thread its own heap, up to eight per core, and no thread reuses memory that
    another has freed. So a server with many rarely active threads keeps the peak of each. Other C
    libraries do not do this and have no `mallopt`.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_ARENA_MAX, ARENAS))


# Collects the garbage of ended calls soon after their end.
#
# The parts of a call reference each other in cycles, which only a full collection finds: 0.85 MB
# per call. Python by itself runs one only after eight calls or more, and the process keeps the size
# of the longest such wait.

EVERY_S: Final = 10.0  # chosen: no call is served during a collection (docs/decisions/0004)


@asynccontextmanager
async def free_ended_calls(ended: Callable[[], int]) -> AsyncIterator[None]:
    """Collect garbage at most two rounds after a call has ended, while the block runs.

    Args:
        ended: Returns how many calls have ended so far.
    """

    async def look() -> None:
        freed = seen = 0
        while True:
            await asyncio.sleep(EVERY_S)
            if seen > freed:  # they ended a round ago, so nothing references them any more
                gc.collect()
                freed = seen
            seen = ended()

    async with at_work(freeing=keep_running("freeing what calls held", look)):
        yield
