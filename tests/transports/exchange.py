"""The API of LiveKit's SIP service on loopback, as far as its objects and dials are concerned.

It speaks Twirp with protobuf bodies, like the real service, and keeps its requests. The real one
refuses the same requests (tests/peers sends them to it).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from json import dumps
from time import sleep
from typing import Any

from livekit import api
from livekit.protocol import sip

SECRET = "exchange-secret-of-at-least-thirty-two"
KINDS = {
    "SIPInboundTrunk": (sip.SIPInboundTrunkInfo, "sip_trunk_id", "trunk"),
    "SIPOutboundTrunk": (sip.SIPOutboundTrunkInfo, "sip_trunk_id", "trunk"),
    "SIPDispatchRule": (sip.SIPDispatchRuleInfo, "sip_dispatch_rule_id", "dispatch_rule"),
}

DIALS = {
    "CreateRoom": "make_room",
    "CreateSIPParticipant": "dial",
    "DeleteRoom": "delete",
    "ListParticipants": "participants",
    "ListRooms": "rooms",
    "RemoveParticipant": "remove",
    "TransferSIPParticipant": "transfer",
}


class Exchange:
    """The service's objects and its requests.

    Attributes:
        asked: The methods that were called.
        refuses: Errors to return for methods, as Twirp's code and message.
        meta: Further fields of an error, such as a SIP status.
        there: The participants of every room.
        attributes: Attributes of each participant, in addition to the name.
        deleted: The rooms that were closed.
        transferred: The answer to a transfer.
        hangs: While set, dials and lookups of participants get no answer.
        instead: The status and body with which a server other than LiveKit answers every request.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses: dict[str, tuple[str, str]] = {}
        self.objects: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.meta: dict[str, str] = {}
        self.there: list[str] = []
        self.attributes: dict[str, str] = {}
        self.removed: list[str] = []
        self.deleted: list[str] = []
        self.dialled: list[sip.CreateSIPParticipantRequest] = []
        self.transferred = sip.TransferSIPParticipantResponse()
        self.hangs = False
        self.instead: tuple[int, bytes] | None = None
        self._numbers = count(1)
        self.url = ""

    def answer(self, method: str, body: bytes, token: str) -> tuple[int, bytes]:
        """Return an answer's status and body."""
        try:
            grants = api.TokenVerifier("key", SECRET).verify(token)
        except Exception as error:  # noqa: BLE001 - whatever the library finds wrong
            return _refused(401, "unauthenticated", str(error))
        if method in self.refuses:
            return _refused(400, *self.refuses[method], self.meta)
        if method in DIALS:
            return 200, getattr(self, f"_{DIALS[method]}")(body).SerializeToString()
        if not grants.sip or not grants.sip.admin:
            return _refused(403, "permission_denied", "no SIP admin")
        verb, kind = next(
            (verb, kind)
            for verb in ("Create", "Update", "List")
            for kind in KINDS
            if method == verb + kind
        )
        return 200, getattr(self, f"_{verb.lower()}")(kind, body).SerializeToString()

    def _create(self, kind: str, body: bytes) -> Any:
        _, id_field, field = KINDS[kind]
        request = getattr(sip, f"Create{kind}Request").FromString(body)
        made = getattr(request, field)
        setattr(made, id_field, f"ID_{next(self._numbers)}")
        self.objects[kind][getattr(made, id_field)] = made
        return made

    def _update(self, kind: str, body: bytes) -> Any:
        _, id_field, _ = KINDS[kind]
        request = getattr(sip, f"Update{kind}Request").FromString(body)
        object_id = getattr(request, id_field)
        setattr(request.replace, id_field, object_id)
        self.objects[kind][object_id] = request.replace
        return request.replace

    def _list(self, kind: str, _body: bytes) -> Any:
        return getattr(sip, f"List{kind}Response")(items=self.objects[kind].values())

    def _dial(self, body: bytes) -> Any:
        request = sip.CreateSIPParticipantRequest.FromString(body)
        self.dialled.append(request)
        while self.hangs:
            sleep(0.01)
        return sip.SIPParticipantInfo(room_name=request.room_name, sip_call_id="SCL_1")

    def _make_room(self, body: bytes) -> Any:
        return api.Room(name=api.CreateRoomRequest.FromString(body).name)

    def _transfer(self, _body: bytes) -> Any:
        return self.transferred

    def _participants(self, _body: bytes) -> Any:
        there = [
            api.ParticipantInfo(identity=text, attributes=self.attributes) for text in self.there
        ]
        return api.ListParticipantsResponse(participants=there)

    def _rooms(self, _body: bytes) -> Any:
        return api.ListRoomsResponse()

    def _delete(self, body: bytes) -> Any:
        self.deleted.append(api.DeleteRoomRequest.FromString(body).room)
        return api.DeleteRoomResponse()

    def _remove(self, body: bytes) -> Any:
        self.removed.append(api.RoomParticipantIdentity.FromString(body).identity)
        return api.RemoveParticipantResponse()


def _refused(
    status: int, code: str, message: str, meta: dict[str, str] | None = None
) -> tuple[int, bytes]:
    return status, dumps({"code": code, "msg": message, "meta": meta or {}}).encode()


@contextmanager
def running_exchange() -> Iterator[Exchange]:
    """Run the API during the block, in a thread, because the command that calls it blocks."""
    exchange = Exchange()

    class Window(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service, method = self.path.removeprefix("/twirp/livekit.").split("/")
            assert service in ("SIP", "RoomService")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            token = self.headers["Authorization"].removeprefix("Bearer ")
            exchange.asked.append(method)
            status, content = exchange.instead or exchange.answer(method, body, token)
            with suppress(OSError):  # the client may have given up
                self._reply(status, content)

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            kind = "application/protobuf" if status == 200 else "application/json"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Window) as server:
        exchange.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield exchange
        finally:
            exchange.hangs = False
            server.shutdown()
            thread.join()
