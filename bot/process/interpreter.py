"""What a process asks of Python and of the C library, so that it serves callers well for weeks."""

import ctypes
import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005  # chosen: a tenth of Python's own 5 ms

# Parameters of glibc's mallopt (malloc.h), and the values that its manual gives as defaults.
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
OWN_PAGES_BYTES: Final = 128 * 1024
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


def give_memory_back() -> bool:
    """Have freed memory go back to the system; return whether the C library could be told.

    glibc gives a large block pages of its own, which are gone when it is freed. But each that is
    freed raises the size from which it does so, up to 32 MB: from then on sound and features lie
    among what stays for the call, and each thread has such a heap of its own. Sixteen calls for
    half an hour grew by 0.76 MB a minute, with no object more than before (benchmarks/soak.py).
    Setting a size, even the usual one, keeps it where it is. Another C library has no such habit,
    and no `mallopt`.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    library.mallopt(M_MMAP_THRESHOLD, OWN_PAGES_BYTES)
    library.mallopt(M_TRIM_THRESHOLD, OWN_PAGES_BYTES)
    library.mallopt(M_ARENA_MAX, ARENAS)
    return True
