"""A far end that refuses every call with a status of one's choice, played by sipp."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.peers.children import READY_S, Child, UnprovenError, free_ports, program

HEADERS = """[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0"""
SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="refuses">
  <recv request="INVITE"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
{headers}

]]></send>
  <pause milliseconds="100"/>
  <send retrans="500"><![CDATA[
SIP/2.0 {status}
{headers}

]]></send>
  <recv request="ACK"/>
</scenario>
"""


@contextlib.contextmanager
def refusing_phone(folder: Path, status: str) -> Iterator[str]:
    """Have one until the block ends; yield where it is reached, as host and port.

    Args:
        folder: For its scenario and its log.
        status: Such as `603 Decline`.

    Raises:
        UnprovenError: sipp is not here, or does not start.
    """
    sipp = program("sipp", "sip-tester")
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    scenario = folder / "refuses.xml"
    scenario.write_text(SCENARIO.format(status=status, headers=HEADERS), encoding="utf-8")
    command = [sipp, "-sf", str(scenario), "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    child = Child(command, log=folder / "sipp.log", environment={"TERM": "dumb"})
    try:
        _until_taken(port, child)
        yield f"127.0.0.1:{port}"
    finally:
        child.end()


def _until_taken(port: int, child: Child) -> None:
    """Return when the port is in use: of UDP nothing else can be seen from outside."""
    until = time.monotonic() + READY_S
    while child.running and time.monotonic() < until:
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.02)
    raise UnprovenError(f"sipp does not start: {child.said()[-300:]}")
