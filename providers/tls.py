"""The certificates that we trust, read once for every connection of the process."""

import functools
import ssl


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what every connection to a recogniser, a voice or a model is made with.

    The libraries would make one for each socket, and for each model's client, in the loop: 20 ms
    and more of reading certificates, in which no call is served.
    """
    return ssl.create_default_context()


def tls_for(url: str) -> ssl.SSLContext | None:
    """Return what a connection to this address is made with; None: it has no TLS."""
    return tls_context() if url.startswith("wss:") else None
