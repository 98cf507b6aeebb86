"""The certificates that we trust, read once for every connection of the process."""

import functools
import ssl


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what every wss connection of ours is made with.

    The libraries would make one for each connection, in the loop: 20 ms of reading certificates
    for each voice and recogniser of each call, in which no other call is served.
    """
    return ssl.create_default_context()


def tls_for(url: str) -> ssl.SSLContext | None:
    """Return what a connection to this address is made with; None: it has no TLS."""
    return tls_context() if url.startswith("wss:") else None
