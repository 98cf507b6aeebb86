"""Tunes the interpreter, the C library and garbage collection for a server that runs for weeks."""

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


def shorten_switch_interval() -> None:
    """Make computing threads return the interpreter lock to the event loop sooner.

    The loop releases the lock for each packet that it sends. A detector's thread may then keep the
    lock for `sys.getswitchinterval()`, by default 5 ms, and again at the next packet.
    With eight concurrent calls, the loop spent a third of its time waiting for the lock (profiled).
    """
    sys.setswitchinterval(SWITCH_S)


def freeze_loaded_objects() -> None:
    """Collect garbage once, then exempt all loaded objects from it (`gc.freeze`); blocks.

    A full collection over Pipecat and the providers' libraries takes 0.05 to 0.2 s (measured on two
    busy cores by benchmarks/turn_latency.py), during which no call is served.
    """
    gc.collect()
    gc.freeze()


def limit_read_size() -> None:
    """Limit what the loop reads from a socket at once to 32 kB, instead of 256 kB.

    For each read, Python allocates a block of that size and then frees the part that was not
    filled. A later allocation at the start of that part leaves a hole too small for the next read:
    a worker with eight calls lost 256 kB a minute in this way (from a heap walk;
    docs/decisions/0004).
    """
    selector_events._SelectorTransport.max_size = READ_BYTES  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way


def limit_heaps() -> bool:
    """Make all threads but the loop's share one heap; return whether the C library accepted this.

    glibc creates up to eight heaps per core, one for each thread, and no thread reuses memory that
    was freed in another heap. So a server with many rarely active threads keeps the peak usage of
    each. Other C libraries do not do this and have no `mallopt`.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_ARENA_MAX, ARENAS))


def give_memory_back() -> None:
    """Return free pages inside of the heaps to the system; 0.1 to 0.7 ms with 160 MB in use.

    By itself, glibc only returns the free end of a heap. Holes between objects that stay would keep
    the pages that they once needed.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # as in glibc
        library.malloc_trim(0)


# Chosen; not shorter, because a collection stalls all calls (docs/decisions/0004).
COLLECT_EVERY_S: Final = 10.0


@asynccontextmanager
async def free_ended_calls(ended: Callable[[], int]) -> AsyncIterator[None]:
    """Collect the garbage of ended calls while the block runs, and return its memory.

    This happens at most `2 * COLLECT_EVERY_S` after a call has ended. The parts of a call reference
    each other in cycles, 0.85 MB per call, which only a full collection frees. Python itself runs
    one only after eight calls or more, and the process does not shrink again afterwards.

    Args:
        ended: Returns how many calls have ended so far.
    """

    async def collect_when_calls_ended() -> None:
        """Collect garbage every `COLLECT_EVERY_S`, if calls have ended a round ago or earlier."""
        # How many calls had ended at the last collection, and at the last round.
        freed = seen = 0
        while True:
            await asyncio.sleep(COLLECT_EVERY_S)
            if seen > freed:  # these calls ended a round ago, so nothing references them any more
                gc.collect()
                give_memory_back()
                freed = seen
            seen = ended()

    work = keep_running("freeing what calls held", collect_when_calls_ended)
    async with at_work(freeing=work):
        yield
