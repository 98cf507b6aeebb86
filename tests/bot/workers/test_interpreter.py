"""Settings of Python and of the C library for a process."""

import asyncio
import platform
import socket
import subprocess
import sys

import pytest

from bot.workers.interpreter import READ_BYTES, limit_read_size

# Each thread allocates and keeps something; `malloc_info` prints a <heap> for each one (malloc.h).
PROGRAM = """
import ctypes, os, threading

libc = ctypes.CDLL(None)
if {told}:
    from bot.workers.interpreter import limit_heaps
    assert limit_heaps()
enough = threading.Barrier(7)

def take():
    libc.malloc(1000)
    enough.wait()  # all are there at once: who comes later may not have the heap of who has gone

threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
enough.wait()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(out))
libc.fflush(ctypes.c_void_p(out))
"""


def heaps(*, told: bool) -> int:
    """Return how many heaps six threads next to the first have with it."""
    program = [sys.executable, "-c", PROGRAM.replace("{told}", str(told))]
    said = subprocess.run(program, capture_output=True, check=True, text=True).stdout  # noqa: S603 - ours
    return said.count("<heap ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such heaps")
def test_threads_share_one_heap_next_to_the_loops() -> None:
    assert heaps(told=True) == 2
    assert heaps(told=False) > 2  # glibc's default, without which no setting is needed


class Pieces(asyncio.Protocol):
    def __init__(self) -> None:
        self.sizes = list[int]()

    def data_received(self, data: bytes) -> None:
        self.sizes.append(len(data))


async def test_a_socket_is_read_in_small_pieces() -> None:
    limit_read_size()
    near, far = socket.socketpair()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * READ_BYTES)
    far.sendall(bytes(3 * READ_BYTES))  # all is there before the first read

    transport, pieces = await asyncio.get_running_loop().create_connection(Pieces, sock=near)
    async with asyncio.timeout(10):
        while sum(pieces.sizes) < 3 * READ_BYTES:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    transport.close()
    far.close()

    assert max(pieces.sizes) == READ_BYTES
