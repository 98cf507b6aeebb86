"""What a process asks of the C library."""

import subprocess
import sys

# A large block that was freed must not change where the next one lies. `mallinfo2` counts the
# blocks that have pages of their own in its fifth field (malloc.h).
PROGRAM = """
import ctypes
from bot.process.interpreter import give_memory_back

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

class Info(ctypes.Structure):
    _fields_ = [(f"field_{n}", ctypes.c_size_t) for n in range(10)]

libc.mallinfo2.restype = Info
if {told}:
    assert give_memory_back()
libc.free(libc.malloc(8_000_000))
before = libc.mallinfo2().field_3
kept = libc.malloc(1_000_000)
print(libc.mallinfo2().field_3 - before)
"""


def own_pages(*, told: bool) -> int:
    """Return how many blocks of one have pages of their own, behind a large one that was freed."""
    program = [sys.executable, "-c", PROGRAM.replace("{told}", str(told))]
    return int(subprocess.run(program, capture_output=True, check=True, text=True).stdout)  # noqa: S603 - ours


def test_a_large_block_that_was_freed_keeps_none_of_the_next_in_the_heap() -> None:
    assert own_pages(told=True) == 1
    assert own_pages(told=False) == 0  # glibc's habit, without which nothing need be said
