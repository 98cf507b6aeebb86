"""A worker's side of the pool: asks the supervisor over one connection."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final

from loguru import logger

from bot.workers.pool import StreamedViews
from bot.workers.wire import Wire, WireError
from fallbacks.ladder import StagePolicy
from processors.ladder.gate import RungGate
from transports.pool import ASK_PROCESS_S, Answer, HeldSeat, KeepOutcome, NoSeat, TakenUp


class PooledKeyValueStore:
    """The pool's key-value store, in the supervisor."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def keep(
        self,
        token: str,
        value: Any,
        *,
        for_s: float,
        moments: Sequence[str] = (),
        epoch: int | None = None,
    ) -> KeepOutcome:
        """Store a value in the supervisor; a failure is only logged, and reported as `UNKNOWN`."""
        try:
            kept = await self._wire.ask(
                "keep", token=token, value=value, for_s=for_s, moments=list(moments), epoch=epoch
            )
        except WireError as gone:
            logger.warning("a value was not stored in the supervisor: {}", gone)
            return KeepOutcome.UNKNOWN
        return KeepOutcome(kept)

    async def take_up(self, token: str, *, epoch: int | None = None) -> TakenUp | None:
        """Raise a token's epoch in the supervisor; return `None` if `epoch` differs.

        Without an answer, the result has neither an epoch nor a value.
        """
        try:
            taken = await self._wire.ask("take_up", token=token, epoch=epoch)
        except WireError as gone:
            logger.warning("a value was not taken from the supervisor: {}", gone)
            return TakenUp(epoch=None)
        return TakenUp(**taken) if taken else None

    async def epoch(self, token: str) -> int:
        """Return a token's epoch in the supervisor.

        Raises:
            LookupError: The supervisor does not answer.
        """
        try:
            return int(await self._wire.ask("epoch", token=token))
        except WireError as gone:
            raise LookupError(str(gone)) from gone

    async def take(self, token: str) -> Any:
        """Take a value from the supervisor; `None` if it has none or does not answer."""
        try:
            return await self._wire.ask("take", token=token)
        except WireError as gone:
            logger.warning("a value was not read from the supervisor: {}", gone)
            return None

    async def read(self, token: str) -> Any:
        """Read a value in the supervisor.

        Raises:
            LookupError: The supervisor does not answer.
        """
        try:
            return await self._wire.ask("read", token=token)
        except WireError as gone:
            raise LookupError(str(gone)) from gone

    async def read_all(self, kind: str) -> Mapping[str, Any]:
        """Read all values of a kind in the supervisor.

        Raises:
            LookupError: The supervisor does not answer.
        """
        try:
            return await self._wire.ask("read_all", kind=kind)
        except WireError as gone:
            raise LookupError(str(gone)) from gone

    async def drop(self, token: str) -> None:
        """Remove a value, or all values of a kind, in the supervisor.

        Raises:
            LookupError: The supervisor does not answer.
        """
        try:
            await self._wire.ask("drop", token=token)
        except WireError as gone:
            raise LookupError(str(gone)) from gone


class WirePeers:
    """The other workers, reached through the supervisor.

    Attributes:
        others: Their names, by the supervisor's last report.
    """

    def __init__(self, wire: Wire, name: str) -> None:
        """Reach the peers of the worker `name` over its wire to the supervisor."""
        self.others: Sequence[str] = ()
        self._wire = wire
        self._name = name
        self._answers: dict[str, Answer] = {}

    async def claim(self, what: str, *, everywhere: bool = False) -> KeepOutcome:
        """Claim work in the supervisor; refused if any worker, even this one, has it.

        Also refused, with a warning in the log, if the supervisor does not answer.
        """
        try:
            return KeepOutcome(await self._wire.ask("claim", what=what, everywhere=everywhere))
        except WireError as gone:
            logger.warning("claim failed: {}", gone)
            return KeepOutcome.REFUSED

    def give_back(self, what: str) -> None:
        """Release a claim in the supervisor."""
        self._wire.send("give_back", what=what)

    def answer(self, what: str, answer: Answer) -> None:
        """Register the answer to a question of any worker."""
        self._answers[what] = answer
        self._wire.answer(what, answer)

    async def ask(
        self, name: str, what: str, /, *, within_s: float = ASK_PROCESS_S, **fields: Any
    ) -> Any:
        """Ask one worker, through the supervisor; this one is asked directly.

        Raises:
            LookupError: It is not running or does not answer.
        """
        if name == self._name:
            return await self._answers[what](fields)
        try:
            asked = {"peer": name, "question": what, "fields": fields, "limit_s": within_s}
            return await self._wire.ask("peer", within_s=within_s, **asked)
        except WireError as gone:
            raise LookupError(str(gone)) from gone

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Return our own answer, then those of the other workers, except for those that fail.

        An error of our own answer is raised.
        """
        own = await self._answers[what](fields)
        questions = [self.ask(item, what, **fields) for item in self.others]
        answers = await asyncio.gather(*questions, return_exceptions=True)
        return [own, *(item for item in answers if not isinstance(item, BaseException))]


class PoolClient:
    """The worker pool as one of its workers sees it.

    Attributes:
        configuration: The fingerprint of the configuration for new calls, by the last report.
    """

    def __init__(self, wire: Wire, *, number: int, workers: int, pool_id: str = "") -> None:
        """Join the pool.

        Args:
            wire: The connection to the supervisor.
            number: The number of this worker; no other worker of this supervisor has had it.
            workers: How many workers the pool should have.
            pool_id: The id of the pool.
        """
        self.wire = wire
        self.workers = workers
        self.id = pool_id
        self.views = StreamedViews(wire)
        self.name = f"w{number}"
        self.key_values = PooledKeyValueStore(wire)
        self.peers = WirePeers(wire, self.name)
        self.configuration = ""
        self.claims_everywhere = False  # whether claims hold on several machines now
        self.state: Mapping[str, Any] = {}
        self.on_state: Callable[[], None] = lambda: None
        wire.on("pool", self._store_state)

    @property
    def why_closed(self) -> str:
        """Why the pool takes no call, by the supervisor's last report; empty if it does."""
        return str(self.state.get("why_closed", ""))

    @property
    def room(self) -> int:
        """How many more calls the pool could take, by the supervisor's last report."""
        return int(self.state.get("room", 0))

    @property
    def leads(self) -> bool:
        """Whether this worker is the one that works for the whole pool, by the last report."""
        return self.state.get("leads") == self.name

    @property
    def store_away(self) -> bool:
        """Whether the store that several machines share is away, by the last report."""
        return bool(self.state.get("store_away"))

    @property
    def quiet(self) -> bool:
        """Whether the pool has no call in progress, by the supervisor's last report."""
        return not self.state.get("calls")

    def report(self, cores: float, lag_s: float) -> None:
        """Report the cores in use and the event loop's lag to the supervisor."""
        self.wire.send("report", cores=round(cores, 4), lag_s=round(lag_s, 4))

    async def admit(
        self, call: str = "", *, address: str = "", goes_on: bool = False
    ) -> HeldSeat | NoSeat:
        """Ask the supervisor for a seat; if it does not answer, the pool counts as busy."""
        try:
            reply = await self.wire.ask("admit", call=call, address=address, goes_on=goes_on)
        except WireError as gone:
            logger.warning("no seat: {}", gone)
            return NoSeat(reason="busy")
        return NoSeat(reason=reply["reason"]) if "reason" in reply else HeldSeat(seat=reply["seat"])

    async def take_turn(self, name: str, *, per_s: float) -> float:
        """Ask the supervisor for a turn; return 0 if it is granted, else the seconds to wait.

        Also 0 without an answer: then only this process's own pace limits the requests.
        """
        try:
            return float(await self.wire.ask("turn", name=name, per_s=per_s))
        except WireError as gone:
            logger.warning("no turn of {}: {}", name, gone)
            return 0.0

    def begin(self, seat: int) -> None:
        """Tell the supervisor that the call of a seat has begun."""
        self.wire.send("begin", seat=seat)

    def end(self, seat: int) -> None:
        """Tell the supervisor that the call of a seat has ended."""
        self.wire.send("end", seat=seat)

    def _store_state(self, state: Mapping[str, Any]) -> None:
        """Store the supervisor's report; `on_state` then admits requests that wait for a lease."""
        self.state, self.configuration = state, str(state.get("configuration", ""))
        self.claims_everywhere = bool(state.get("claims_everywhere"))
        self.on_state()
        self.peers.others = [item for item in state.get("workers", ()) if item != self.name]


def take_connections(hand: socket.socket, take: Callable[[socket.socket], None]) -> asyncio.Event:
    """Call `take` with each connection that the supervisor sends over the socket `hand`.

    Returns:
        An event that is set once the supervisor has closed the socket and `take` has had the last
        connection.
    """
    all_taken = asyncio.Event()
    loop = asyncio.get_running_loop()
    hand.settimeout(0)

    def receive() -> None:
        """Take the next connection; stop reading once the supervisor has closed its end."""
        try:
            message, files, _, _ = socket.recv_fds(hand, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            message, files = b"", []
        if not message:
            loop.remove_reader(hand)
            all_taken.set()
            return
        for file in files:
            take(socket.socket(fileno=file))

    loop.add_reader(hand, receive)
    return all_taken


MAX_PACE_WAIT_S: Final = 30.0  # usually less: the gate gives up at the turn's deadline


class PoolPace:
    """The request rate of one rung, which the supervisor limits for all workers.

    When the supervisor is gone there is no limit, so that the last calls still get their answers.
    """

    def __init__(self, pool: PoolClient, rung: str) -> None:
        self._pool = pool
        self._rung = rung

    def has_capacity(self) -> bool:
        """Return whether a request would pass at once, by the supervisor's last report."""
        return self._is_gone or self._rung not in self._pool.state.get("full_paces", ())

    async def acquire(self) -> None:
        """Wait until a request may be sent; return at once if the supervisor is gone.

        Raises:
            TimeoutError: No request may be sent within `MAX_PACE_WAIT_S`.
        """
        try:
            await self._pool.wire.ask("pace", within_s=MAX_PACE_WAIT_S, rung=self._rung)
        except WireError as late:
            if not self._is_gone:
                raise TimeoutError(str(late)) from late

    @property
    def _is_gone(self) -> bool:
        return self._pool.wire.gone.is_set()


class SharedLimits:
    """Applies the limits that the whole pool shares to this worker's gates."""

    def __init__(self, pool: PoolClient, policies: Iterable[StagePolicy]) -> None:
        """Take over the limits of these stages' gates.

        Every gate with limited places is closed until the supervisor leases it some. Allowances
        are reduced to this worker's part.
        """
        self._pool = pool
        self._numbers: dict[str, int] = {}  # by rung: the number of the last lease message
        self._reported: dict[
            str, tuple[int, int, int]
        ] = {}  # by rung: the last report, see `_read_use`
        self._gates: dict[str, RungGate] = {}
        for policy in policies:
            policy.allowance.share(pool.workers)
            for name, gate in policy.gates.items():
                self._share_gate(name, gate)
        pool.wire.on("lease", self._apply_lease)
        pool.on_state = self._call_in

    def report(self) -> None:
        """Report used and wanted places to the supervisor, if they have changed."""
        uses = {name: self._read_use(name) for name in self._gates}
        uses = {name: use for name, use in uses.items() if self._reported.get(name) != use}
        if uses:
            self._reported |= uses
            self._pool.wire.send("places", rungs=uses)

    def _call_in(self) -> None:
        """Let the gates admit waiting requests: their leases may be valid again."""
        for gate in self._gates.values():
            gate.resize(gate.limits.concurrent or 0)

    def _is_leased(self, rung: str, now: float) -> bool:
        """Return whether the places of a rung may be used, by the supervisor's last report.

        `now` is monotonic, in seconds: the clock that all processes of a machine share.

        Without a supervisor they may, so that the last calls still get their answers.
        """
        until = self._pool.state.get("leased_until", {}).get(rung, inf)
        return now < until or self._pool.wire.gone.is_set()

    def _share_gate(self, name: str, gate: Any) -> None:
        """Make a rung's gate wait for the pool's request rate and for leased places: none yet."""
        if not isinstance(gate, RungGate):
            return
        if gate.limits.per_minute is not None:
            gate.pace = PoolPace(self._pool, name)
        if gate.limits.concurrent is not None:
            self._gates[name] = gate
            self._numbers[name] = 0
            gate.resize(0)
            gate.on_full = self.report
            gate.is_leased = partial(self._is_leased, name)

    def _apply_lease(self, message: Mapping[str, Any]) -> None:
        """Give a gate its leased places; the report of its use then confirms the message."""
        gate = self._gates.get(message["rung"])
        if gate is None:
            # Only the supervisor's newer configuration limits this rung, so this worker needs no
            # places: it reports that it uses and wants none.
            self._pool.wire.send("places", rungs={message["rung"]: (message["number"], 0, 0)})
            return
        self._numbers[message["rung"]] = message["number"]
        gate.resize(message["places"])
        self.report()

    def _read_use(self, name: str) -> tuple[int, int, int]:
        """Return the last lease message's number, and the places that are used and wanted.

        Reading `wanted` resets a demand that the gate has noted.
        """
        gate = self._gates[name]
        return self._numbers[name], gate.inside, gate.wanted
