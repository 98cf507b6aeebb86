"""A far end that refuses every call: with a given status, or for a missing login."""

import contextlib
import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
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
NONCE = "47ebe028cda119c35d4877b383027d28"
# A call with the login is busy, any other is forbidden.
ASKS_FOR_LOGIN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="asks for a login">
  <recv request="INVITE"/>
  <send><![CDATA[
SIP/2.0 407 Proxy Authentication Required
Proxy-Authenticate: Digest realm="carrier", nonce="{nonce}"
{headers}

]]></send>
  <recv request="ACK"/>
  <recv request="INVITE">
    <action><ereg regexp="{response}" search_in="hdr" header="Proxy-Authorization:"
                  check_it="false" assign_to="known"/></action>
  </recv>
  <nop hide="true" test="known" next="1"/>
  <send retrans="500" next="2"><![CDATA[
SIP/2.0 403 Forbidden
{headers}

]]></send>
  <label id="1"/>
  <send retrans="500"><![CDATA[
SIP/2.0 486 Busy Here
{headers}

]]></send>
  <label id="2"/>
  <recv request="ACK"/>
</scenario>
"""


def refusing_phone(folder: Path, status: str) -> AbstractContextManager[str]:
    """Run one until the block ends; yield its host and port.

    Args:
        folder: For its scenario and its log.
        status: Such as `603 Decline`.

    Raises:
        UnprovenError: sipp is not here, or does not start.
    """
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    return _playing(folder, port, SCENARIO.format(status=status, headers=HEADERS))


def carrier_with_login(
    folder: Path, *, callee: str, username: str, password: str
) -> AbstractContextManager[str]:
    """Run a carrier that asks for a login (digest) before the callee, as above."""
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    who = _digest(f"{username}:carrier:{password}")  # RFC 2617, section 3.2.2
    what = _digest(f"INVITE:sip:{callee}@127.0.0.1:{port};transport=udp")
    response = _digest(f"{who}:{NONCE}:{what}")
    content = ASKS_FOR_LOGIN.format(nonce=NONCE, response=response, headers=HEADERS)
    return _playing(folder, port, content)


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def _playing(folder: Path, port: int, content: str) -> Iterator[str]:
    sipp = program("sipp", "sip-tester")
    folder.mkdir(parents=True, exist_ok=True)
    scenario = folder / "scenario.xml"
    scenario.write_text(content, encoding="utf-8")
    command = [sipp, "-sf", str(scenario), "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    child = Child(command, log=folder / "sipp.log", environment={"TERM": "dumb"})
    try:
        _until_taken(port, child)
        yield f"127.0.0.1:{port}"
    finally:
        child.end()


def _until_taken(port: int, child: Child) -> None:
    """Return when the port is in use: UDP shows nothing else from outside."""
    until = time.monotonic() + READY_S
    while child.running and time.monotonic() < until:
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.02)
    raise UnprovenError(f"sipp does not start: {child.said()[-300:]}")
