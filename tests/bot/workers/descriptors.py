"""Limits the number of file descriptors that this process can still open."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def descriptors_left(descriptors: int) -> Iterator[None]:
    """Allow this many more descriptors during the block."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_ones = [os.dup(0) for _ in range(descriptors + 1)]
    for next_one in next_ones:
        os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(next_ones), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
