"""What a process asks of the C library."""

import platform
import subprocess
import sys

import pytest

# Each thread takes something and keeps it; `malloc_info` tells one heap in each <heap> (malloc.h).
PROGRAM = """
import ctypes, os, threading
from bot.process.interpreter import share_heaps

libc = ctypes.CDLL(None)
if {told}:
    assert share_heaps()
enough = threading.Barrier(7)

def take():
    libc.malloc(1000)
    enough.wait()  # all are there at once: who comes later may not have the heap of who has gone

threads = [threading.Thread(target=take) for _ in range(6)]
for each in threads:
    each.start()
enough.wait()
for each in threads:
    each.join()
libc.fdopen.restype = ctypes.c_void_p
out = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(out))
libc.fflush(ctypes.c_void_p(out))
"""


def heaps(*, told: bool) -> int:
    """Return how many heaps six threads beside the first have with it."""
    program = [sys.executable, "-c", PROGRAM.replace("{told}", str(told))]
    said = subprocess.run(program, capture_output=True, check=True, text=True).stdout  # noqa: S603 - ours
    return said.count("<heap ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such heaps")
def test_threads_share_one_heap_beside_the_loops() -> None:
    assert heaps(told=True) == 2
    assert heaps(told=False) > 2  # glibc's habit, without which nothing need be said
