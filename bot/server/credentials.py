"""Checks the console's credentials: bearer token, sign-in form and session cookie.

All go through `ConsoleCredentials.check`, which counts, limits and logs wrong ones. Rules:

- `HOLDLINE_TOKEN` gives the role `act`, `HOLDLINE_VIEW_TOKEN` the role `see`, which only reads.
- A sign-in opens a session in the pool's key-value store, in the supervisor, which saves it, so it
  outlives a worker and a restart of the server; with `server.store`, it holds on every machine.
  It ends after `SESSION_S`, by its own sign-out, by a sign-out of all, and when its token changes.
  The store holds a hash of the cookie. Sign-ins of one role or from one network end no other
  sessions (`bot/workers/pool.py`).
- After `FREE_ATTEMPTS` wrong credentials, each further one makes its address wait longer, in every
  process of the pool. Repeating the same one is not counted: a forgotten tab or scraper does so,
  and a guesser learns nothing from it.
"""

import hashlib
import hmac
import math
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

from loguru import logger
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from calls.entry import Emit
from calls.events import InputRefused
from configuration.checks import is_short
from runtime import clock
from runtime.clock import Clock
from transports.arrival_rules import network_of
from transports.pool import CallPool, KeepOutcome

FREE_ATTEMPTS: Final = 5  # wrong credentials from one address without a wait: people mistype
FIRST_WAIT_S: Final = 1.0  # doubles with each further wrong one
MAX_WAIT_S: Final = 60.0
MAX_WRONG_TOGETHER: Final = 60  # wrong credentials in `WINDOW_S`; then all unknown addresses wait
WINDOW_S: Final = 60.0
FORGET_S: Final = 3600.0  # after this, an address's count of wrong credentials starts again
FORGIVEN: Final = 10  # wrong credentials that right ones may forgive until `FORGET_S` (chosen)
MAX_ADDRESSES: Final = 1_000  # the least recently used one is dropped first
# Addresses that have sent a right credential; wrong ones from elsewhere do not make them wait.
KNOWN_ADDRESSES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongOnes:
    """The wrong credentials from one network, without the forgiven ones.

    Attributes:
        count: Their number.
        last_at: When the last one came; monotonic, in seconds.
        mark: The hash of the last one; empty after a right one.
        forgiven: How many right ones have forgiven.
    """

    count: int = 0
    last_at: float = float("-inf")
    mark: str = ""
    forgiven: int = 0


NONE_WRONG: Final = WrongOnes()


@dataclass(slots=True)
class Attempts:
    """Wrong and right credentials by address. `now` is in monotonic seconds."""

    _wrong: OrderedDict[str, WrongOnes] = field(default_factory=OrderedDict)  # by network
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)  # networks; no values
    # The times of the last wrong credentials from any address.
    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_WRONG_TOGETHER))

    def wait_s(self, address: str, now: float) -> float:
        """Return how many seconds this address must wait before its next attempt; 0 if none."""
        network = network_of(address)
        wrong = self._wrong.get(network, NONE_WRONG)
        own_wait_s = 0.0
        if wrong.count > FREE_ATTEMPTS:
            wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** min(wrong.count - FREE_ATTEMPTS - 1, 10))
            own_wait_s = wrong.last_at + wait_s - now
        shared_wait_s = 0.0 if network in self._known else self._shared_wait_s(now)
        return max(0.0, own_wait_s, shared_wait_s)

    def is_repeated(self, address: str, mark: str) -> bool:
        """Return whether the last wrong credential from this address had the same hash `mark`."""
        last_mark = self._wrong.get(network_of(address), NONE_WRONG).mark
        return last_mark != "" and last_mark == mark

    def note_wrong(self, address: str, now: float, mark: str = "") -> None:
        """Count a wrong credential; `mark` is a hash of it.

        After `FORGET_S` without one, an address's count begins again.
        """
        network = network_of(address)
        before = self._wrong.pop(network, NONE_WRONG)
        before = before if now - before.last_at < FORGET_S else NONE_WRONG
        self._wrong[network] = replace(before, count=before.count + 1, last_at=now, mark=mark)
        self._latest.append(now)
        while len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)

    def note_right(self, address: str, now: float) -> None:
        """Remember an address that has sent a right credential, and forgive its wrong ones.

        Does nothing while it must wait, because a guesser may share the address. For the same
        reason, no more are forgiven than a person mistypes.
        """
        if self.wait_s(address, now):
            return
        network = network_of(address)
        wrong = self._wrong.get(network, NONE_WRONG)
        if 0 < wrong.count <= FORGIVEN - wrong.forgiven:
            forgiven = wrong.forgiven + wrong.count
            self._wrong[network] = replace(wrong, count=0, mark="", forgiven=forgiven)
        self._known.pop(network, None)
        self._known[network] = None
        while len(self._known) > KNOWN_ADDRESSES:
            self._known.popitem(last=False)

    def _shared_wait_s(self, now: float) -> float:
        """Return how long all unknown addresses must wait; not positive if they need not."""
        is_full = len(self._latest) == MAX_WRONG_TOGETHER
        return self._latest[0] + WINDOW_S - now if is_full else 0.0


class Role(StrEnum):
    """What a credential allows."""

    SEE = "see"
    ACT = "act"


Way = Literal["bearer token", "sign-in form", "session"]
SESSION: Final = "session"  # kind of the values in the store
SESSION_S: Final = 12 * 3600.0  # one working day
SESSION_ID: Final = re.compile(r"[\w-]{43}", re.ASCII)
SESSION_ID_BYTES: Final = 32
LABEL_CHARACTERS: Final = 8  # characters of a session's hash, which name it in the log
NAME_CHARACTERS: Final = 80
REFUSALS: Final[Mapping[Way, str]] = {
    "bearer token": "wrong_bearer_token",
    "sign-in form": "wrong_sign_in",
    "session": "wrong_session",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A credential in a request."""

    way: Way
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The sender of a request."""

    role: Role
    shown: str  # for the log: "session 1a2b3c4d", "bearer token", "no token"
    name: str = ""  # as given at the sign-in
    session: str = ""  # the session's key in the store; empty without a session
    public: bool = False  # whether it is an unauthenticated user of the public telephone


OPEN: Final = Identity(role=Role.ACT, shown="no token")  # of anyone, where no token is needed
STRANGER: Final = Identity(role=Role.SEE, shown="no token", public=True)  # a public caller


def identity_of(request: HTTPConnection) -> Identity:
    """Return the identity of an admitted request's sender; `OPEN` if the path is not guarded."""
    found = request.scope.get("state", {}).get("identity")
    return found if isinstance(found, Identity) else OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A wrong credential, or one that came while its address had to wait."""

    way: Way
    wait_s: int = 0


class ConsoleCredentials:
    """The tokens and sessions of the console."""

    def __init__(
        self,
        token: SecretStr | None,
        view_token: SecretStr | None,
        *,
        pool: CallPool,
        emit: Emit,
        clock: Clock = clock.monotonic,
    ) -> None:
        """Share sessions and wrong credentials with the processes of `pool`."""
        pairs = ((Role.ACT, token), (Role.SEE, view_token))
        self._tokens = {role: held.get_secret_value() for role, held in pairs if held}
        self._key_values = pool.key_values
        self._peers = pool.peers
        self._emit = emit
        self._clock = clock
        self.attempts = Attempts()
        pool.peers.answer("wrong_credential", self._count_wrong)

    @property
    def are_needed(self) -> bool:
        """Whether a token is set; without one, everything is open on this machine."""
        return bool(self._tokens)

    async def check(self, given: Credential, *, address: str, path: str) -> Identity | Denied:
        """Return the identity that a credential proves; count, limit and log wrong ones.

        A right one is accepted even while its address must wait, because someone else may be
        guessing from the same address, such as a proxy's. But a token short enough to be guessed
        has to wait. A right one also forgives its address some wrong ones (`Attempts.note_right`).

        Raises:
            LookupError: The supervisor, which has the sessions, does not answer.
        """
        found, now = await self._find_identity(given), self._clock()
        wait_s = math.ceil(self.attempts.wait_s(address, now))
        if found and not (wait_s and given.way != "session" and is_short(given.value)):
            self.attempts.note_right(address, now)
            return found
        if wait_s:
            self._emit(InputRefused(transport="console", reason="too_many_wrong_credentials"))
            return Denied(way=given.way, wait_s=wait_s)
        await self._note_wrong(given, address, path)
        return Denied(way=given.way)

    async def sign_in(self, role: Role, *, name: str, address: str) -> str:
        """Open a session for `SESSION_S`; return the cookie's value. Only its hash is stored.

        Raises:
            LookupError: The supervisor does not answer, so there is no session.
        """
        session_id = secrets.token_urlsafe(SESSION_ID_BYTES)
        kept = {"role": role, "name": name[:NAME_CHARACTERS], "token": self._token_mark(role)}
        kept["network"] = network_of(address)
        key = _session_key(session_id)
        if await self._key_values.keep(key, kept, for_s=SESSION_S) is KeepOutcome.UNKNOWN:
            raise LookupError(key)
        logger.info("session {} from {} begins, role {}", _label_of_session(key), address, role)
        return session_id

    async def sign_out(self, identity: Identity, *, everybody: bool = False) -> None:
        """End a session, or all sessions.

        Raises:
            LookupError: The supervisor does not answer, so the sessions are still open.
        """
        if everybody or identity.session:
            await self._key_values.drop(SESSION if everybody else identity.session)
        logger.info("{}: {}", identity.shown, "all sessions end" if everybody else "signed out")

    async def is_still_valid(self, identity: Identity) -> bool:
        """Return whether the session of an identity still exists.

        True if it has none, or if the supervisor does not answer.
        """
        try:
            return not identity.session or await self._read_session(identity.session) is not None
        except LookupError:
            return True  # the supervisor hangs, and this worker ends with it

    async def _find_identity(self, given: Credential) -> Identity | None:
        """Return the identity that a credential proves; `None` if it is wrong."""
        if given.way == "session":
            if not SESSION_ID.fullmatch(given.value):
                return None
            return await self._read_session(_session_key(given.value))
        value = given.value.encode()
        for role, token in self._tokens.items():
            if hmac.compare_digest(value, token.encode()):
                return Identity(role=role, shown=given.way)
        return None

    async def _read_session(self, key: str) -> Identity | None:
        """Return a session's identity; `None` if it has ended or its token has changed."""
        kept = await self._key_values.read(key)
        role = Role(kept["role"]) if kept else Role.SEE
        if not kept or kept["token"] != self._token_mark(role):
            return None
        shown = f"session {_label_of_session(key)}"
        return Identity(role=role, shown=shown, name=kept["name"], session=key)

    def _token_mark(self, role: Role) -> str:
        """Return a hash that ties a session to the role's token; empty without such a token."""
        token = self._tokens.get(role)
        return hmac.new(token.encode(), b"session", hashlib.sha256).hexdigest() if token else ""

    async def _note_wrong(self, given: Credential, address: str, path: str) -> None:
        """Emit an event for a wrong credential; unless repeated, log it and count it everywhere."""
        self._emit(InputRefused(transport="console", reason=REFUSALS[given.way]))
        mark = _hash_credential(given.value)
        if self.attempts.is_repeated(address, mark):
            return
        logger.warning("a wrong {} from {} for {}", given.way, address or "nowhere", path[:80])
        await self._peers.ask_all("wrong_credential", address=address, mark=mark)

    async def _count_wrong(self, message: Mapping[str, Any]) -> None:
        self.attempts.note_wrong(message["address"], self._clock(), message["mark"])


def _session_key(session_id: str) -> str:
    return f"{SESSION} {_hash_credential(session_id)}"


def _label_of_session(key: str) -> str:
    return key.removeprefix(f"{SESSION} ")[:LABEL_CHARACTERS]


def _hash_credential(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
