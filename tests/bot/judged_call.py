"""A judged call during the actions of another client, which must not affect its caller.

    pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

    async def test_a_stranger_affects_no_caller(tmp_path: Path) -> None:
        async with judged_call(tmp_path) as beside:
            await do_something_strange(beside.url)

Server, providers, carrier and client all run in one process, on virtual time, so a busy machine
makes no difference. The caller asks one question after another during the block, and one more after
it. At the end each answer must have been heard whole, every word once; no provider may have been
blamed or skipped; and there must be no more tasks, descriptors and taken seats than before.
"""

import asyncio
import dataclasses
import gc
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soxr
from pydantic import SecretStr

from bot.call.switchboard import Switchboard
from bot.server.server import bind_socket
from calls.entry import Entry
from calls.events import CallFailed, Event, InputRefused, PhaseRefused, ProviderFailed
from fallbacks.events import (
    AttemptFailed,
    AttemptStarted,
    BreakerMoved,
    HedgeStarted,
    RungRested,
    StageExhausted,
    Suspected,
)
from lab.callers import RATE_HZ, Pcm, answers, caller_says
from lab.drill.hearing import Sent
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.lab import Lab
from runtime.http import kept_session
from tests.kit.near import Notes, near_server, steady_lab, url_of

AUTH_TOKEN = "a-twilio-auth-token"
GREETING = "Hello, this is Holdline. How can I help?"
QUESTIONS = ("What are your opening hours?", "Where are you?")
PREFERRED = {"deepgram", "openai", "cartesia"}
# A filler is allowed: now and then the turn detector takes one of our questions for unfinished.
BLAME = (
    AttemptFailed, BreakerMoved, CallFailed, HedgeStarted, PhaseRefused,
    ProviderFailed, RungRested, StageExhausted, Suspected,
)  # fmt: skip
# Of virtual time: a stranger who takes longer hangs. The longest test takes 303 to 314 s.
MAX_S = 600.0
SETTLE_S = (
    20.0  # of virtual time, to close what a stranger opened; the silent caller is still there then
)
KEPT_SAMPLES = 3_000_000  # of the lab's sent words: the judged answer and some more


def _descriptors() -> list[str]:
    """Return the open descriptors, by their targets in /proc."""
    found: list[str] = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that the search itself used is closed by now
            found.append(str(path.readlink()))
    return found


def _kept() -> int:
    """Return how many connections wait for the next request to their host, for five minutes."""
    session = kept_session()
    connector = session.connector if session else None
    return sum(map(len, connector._conns.values())) if connector else 0


def _may_not_grow(name: str) -> bool:
    """Return whether a resource may not grow; the database's pool may, to five connections."""
    return ".db" not in Path(name).name


@dataclass(frozen=True, slots=True)
class Counts:
    """Resources that must not grow."""

    tasks: int
    descriptors: int
    seats: int

    @staticmethod
    def now(seats: int) -> "Counts":
        gc.collect()
        kept = _kept()  # the far end is in this process too: two descriptors and one task for each
        tasks = sum(not task.done() for task in asyncio.all_tasks()) - kept
        return Counts(tasks, sum(map(_may_not_grow, _descriptors())) - 2 * kept, seats)

    def within(self, others: "Counts") -> bool:
        return (
            self.tasks <= others.tasks
            and self.descriptors <= others.descriptors
            and self.seats == others.seats
        )


@dataclass(kw_only=True)
class JudgedCall:
    """A telephone call in progress and its server."""

    url: str
    port: int
    logs: Path
    switchboard: Switchboard
    call: Carrier
    lab: Lab
    told: list[Entry] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    verdicts: list[ReplyVerdict] = field(default_factory=list)
    before: Counts | None = None
    after: Counts | None = None
    tasks: list[str] = field(default_factory=list)  # the names of extra ones

    @property
    def events(self) -> list[Event]:
        return [entry.event for entry in self.told]

    @property
    def refusals(self) -> list[str]:
        """Reasons of refused strangers, from the events."""
        return [event.reason for event in self.events if isinstance(event, InputRefused)]

    @property
    def blamed(self) -> list[Event]:
        """Events that blame a provider or show a failover."""
        passed_over = [
            event
            for event in self.events
            if isinstance(event, AttemptStarted) and event.provider not in PREFERRED
        ]
        return [event for event in self.events if isinstance(event, BLAME)] + passed_over

    async def ask(self) -> ReplyVerdict:
        """Ask the next question, hear the answer, and judge it."""
        self.asked.append(QUESTIONS[len(self.asked) % len(QUESTIONS)])
        began_s = self.call.now_s
        stop_s = await self.call.say(caller_says(self.asked[-1]))
        await self.call.listen(quiet_s=1.2, within_s=25)
        text = answers(self.asked, greeting=GREETING)[-1]
        verdict = judge(
            self.call.heard()[round(began_s * RATE_HZ) :],
            self._sent_since(began_s),
            said=ExpectedWords(text=text),
            stop_s=stop_s - began_s,
        )
        self.verdicts.append(verdict)
        return verdict

    def _sent_since(self, at_s: float) -> list[Sent]:
        since_s = self.call.started_at + at_s - self.lab.describe()["started_at_s"]
        return [self._sent(word) for word in self.lab.record.words() if word.sent_at_s >= since_s]

    def _sent(self, word: Any) -> Sent:
        take = self.lab.record.audio.take(word.instance, word.request)
        assert take is not None
        samples: Pcm = take.samples()
        if take.rate_hz != RATE_HZ:
            samples = soxr.resample(samples, take.rate_hz, RATE_HZ).astype(samples.dtype)
        return Sent(
            text=word.text,
            provider=word.instance,
            request=word.request,
            start_s=word.start_s,
            end_s=word.end_s,
            samples=samples[round(word.start_s * RATE_HZ) : round(word.end_s * RATE_HZ)],
        )

    async def talk(self, over: asyncio.Event) -> None:
        """Ask questions until the block ends, and one more after it."""
        for _ in itertools.count():
            last = over.is_set()
            await self.ask()
            if last:
                return

    def seats(self) -> int:
        """Return how many seats are taken."""
        return self.switchboard._taken

    def expect_unhurt(self) -> None:
        """Fail if a word was lost, a provider was blamed, or a resource grew."""
        hurt = [(verdict.missing, verdict.extra) for verdict in self.verdicts if not verdict.whole]
        assert not hurt, f"{len(hurt)} of {len(self.verdicts)} answers were not whole: {hurt}"
        assert not self.blamed, f"a provider was blamed: {self.blamed}"
        assert not self.call.complaints, f"the carrier complains: {self.call.complaints}"
        assert self.before
        assert self.after
        assert self.after.within(self.before), f"{self.before} became {self.after}: {self.tasks}"

    def next_call(self) -> "JudgedCall":
        """Return another call to the same server, without the earlier events."""
        self.told.clear()
        call = Carrier(self.url, AUTH_TOKEN)
        return dataclasses.replace(self, call=call, asked=[], verdicts=[], tasks=[])


@asynccontextmanager
async def judged_call(
    folder: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    token: str | None = None,
) -> AsyncIterator[JudgedCall]:
    """Keep a telephone call in progress during the block, and judge it afterwards.

    Args:
        folder: Where logs go.
        changes: Of the configuration: a mapping for each section, merged over the harness's own.
        token: The server's; `None` if it has none.
    """
    async with listening(folder, changes or {}, token) as beside, going_on(beside):
        yield beside
    beside.expect_unhurt()


@asynccontextmanager
async def going_on(beside: JudgedCall) -> AsyncIterator[None]:
    """Place the call, keep it in progress during the block, then count leaked resources."""
    async with beside.call:
        await beside.call.listen(quiet_s=1.0, within_s=20)
        await beside.ask()  # one-time resources, such as connections, exist by now
        await asyncio.sleep(2.0)  # virtual: dropped connections are closed by now
        before = Counts.now(beside.seats())
        over = asyncio.Event()
        async with asyncio.timeout(MAX_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(beside.talk(over), name="judged caller")
            try:
                yield
            finally:
                over.set()
        beside.before, beside.after = before, await _settled(before, beside)


async def _settled(before: Counts, beside: JudgedCall) -> Counts:
    until = asyncio.get_running_loop().time() + SETTLE_S
    while not (now := Counts.now(beside.seats())).within(before):
        if asyncio.get_running_loop().time() > until:
            beside.tasks = sorted(task.get_name() for task in asyncio.all_tasks())
            return now
        await asyncio.sleep(1.0)  # virtual
    return now


@asynccontextmanager
async def listening(
    folder: Path, changes: Mapping[str, Any], token: str | None
) -> AsyncIterator[JudgedCall]:
    notes, listener, lab = Notes(), bind_socket("127.0.0.1", 0), steady_lab(keep_audio=True)
    lab.record.audio.limit = KEPT_SAMPLES
    tree: dict[str, dict[str, Any]] = {
        # Cores mean nothing on virtual time.
        "server": {"admission": "seats"} | ({"token": token} if token else {}),
        "agent": {"greeting": GREETING},
        # A probe's connection stays open for a while, and would count as grown.
        "resilience": {"probe": {"interval_s": 3600}},
        "transports": {"twilio": {"enabled": True, "auth_token": SecretStr(AUTH_TOKEN)}},
    }
    for section, change in changes.items():
        tree[section] = {**tree.get(section, {}), **change}
    async with (
        lab,
        near_server(listener, notes, lab=lab, folder=folder, tree=tree) as server,
    ):
        yield JudgedCall(
            url=url_of(listener),
            port=listener.getsockname()[1],
            logs=folder / "logs",
            switchboard=server.switchboard,
            call=Carrier(url_of(listener), AUTH_TOKEN),
            lab=lab,
            told=notes.entries,
        )
