"""A system that gives this process only a few more descriptors."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def descriptors_left(descriptors: int) -> Iterator[None]:
    """Allow this many more of them while the block runs."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_ones = [os.dup(0) for _ in range(descriptors + 1)]
    for next_one in next_ones:
        os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(next_ones), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
