"""A real livekit-server and livekit-sip do as docs/sip.md says."""

import asyncio
import json
import re
import socket
import uuid
from pathlib import Path
from typing import Final

import pytest

from tests.peers.children import Child
from tests.peers.media_server import NUMBER, SIP_PAGE, MediaServer

ANSWER_S: Final = 20.0
LISTENS: Final = "0A"
SDP: Final = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m={media} 40000 {profile} 96\r\na=rtpmap:96 {codec}\r\n"
)


def open_ports(child: Child) -> set[tuple[str, int]]:
    """Return the ports of a program and its children that other machines reach."""
    inodes = set[str]()
    for fd in Path(f"/proc/{child.pid}/fd").iterdir():
        inodes |= set(re.findall(r"socket:\[(\d+)\]", str(fd.readlink())))
    found = set[tuple[str, int]]()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            address, _, port = local.rpartition(":")
            open_to_all = set(address) == {"0"} and (kind.startswith("udp") or state == LISTENS)
            if inode in inodes and open_to_all:
                found.add((kind[:3], int(port, 16)))
    return found


def test_the_documented_server_listens_on_loopback_and_the_gateway_only_for_sip(
    media_server: MediaServer,
) -> None:
    health = json.loads((media_server.folder / "sip.yaml").read_text(encoding="utf-8"))[
        "health_port"
    ]

    assert open_ports(media_server.server) == set()
    # The test sets `listen_ip`; and a health port, which tells it that the program has started.
    assert open_ports(media_server.sip) == {("tcp", health)}


async def invited(port: int, sdp: str) -> int:
    """Send an INVITE with this body; return the final status."""
    with socket.socket(type=socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.setblocking(False)
        own, call = phone.getsockname()[1], uuid.uuid4().hex
        lines = [
            f"INVITE sip:{NUMBER}@127.0.0.1:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{call}",
            f"From: <sip:+15550142@127.0.0.1>;tag={call[:8]}",
            f"To: <sip:{NUMBER}@127.0.0.1>",
            f"Call-ID: {call}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:phone@127.0.0.1:{own}>",
            "Max-Forwards: 70",
            *(["Content-Type: application/sdp"] if sdp else []),
            f"Content-Length: {len(sdp)}",
        ]
        loop = asyncio.get_running_loop()
        message = "\r\n".join([*lines, "", sdp]).encode()
        async with asyncio.timeout(ANSWER_S):
            await loop.sock_sendto(phone, message, ("127.0.0.1", port))
            while (status := int((await loop.sock_recv(phone, 4096)).split()[1])) < 200:
                pass
        return status


@pytest.mark.parametrize(
    ("sdp", "words"),
    [
        ("", '"sdp": ""'),
        (SDP.format(media="audio", profile="RTP/AVP", codec="opus/48000/2"), "common audio codec"),
        (SDP.format(media="video", profile="RTP/AVP", codec="H264/90000"), "no audio in sdp"),
    ],
    ids=["no SDP", "opus alone", "no sound"],
)
async def test_a_refused_offer_has_the_documented_words_in_the_log(
    media_server: MediaServer, sdp: str, words: str
) -> None:
    await media_server.add_number()
    log = media_server.sip.log
    before = len(log.read_text(encoding="utf-8"))

    status = await invited(media_server.sip_port, sdp)

    said = log.read_text(encoding="utf-8")[before:]
    await media_server.remove_all()
    (row,) = [line for line in SIP_PAGE.read_text(encoding="utf-8").splitlines() if words in line]
    assert row.startswith(f"| {status} |")
    assert "Cannot start media" in said
    assert words in said
