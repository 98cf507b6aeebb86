"""Machines that are replaced one by one: each call goes on at another one, without an apology."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.receptionist.phrases import hours
from tests.bot.serving import Served, free_port, serving
from tests.bot.workers.carrier_lines import ANY_LINE, PlivoLine, TelnyxLine, Twilio, secrets_in
from tests.bot.workers.multi_worker import becomes, entries_of
from tests.bot.workers.test_resumed_calls import BACK, IN_FLIGHT, ask, goes_on, is_answered
from tests.kit.haproxy import MACHINES, answers, haproxy
from tests.share_servers import running_redis

pytestmark = [pytest.mark.slow, pytest.mark.long]

PROMPT = "Are you still there?"


@dataclass(kw_only=True)
class Fleet:
    """Machines that share a Redis, behind one HAProxy.

    Attributes:
        url: The common address.
        served: The servers of each machine, the latest one last.
    """

    lab: RunningLab
    folder: Path
    tree: Mapping[str, Any]
    keys: Mapping[str, str]
    url: str
    ports: Mapping[str, int]
    checks: Mapping[str, int]
    drain_s: float
    seats: Mapping[str, int]
    served: dict[str, list[Served]] = field(default_factory=dict[str, list[Served]])
    _stacks: dict[str, AsyncExitStack] = field(default_factory=dict[str, AsyncExitStack])

    async def start(self, name: str) -> None:
        """Start a machine."""
        generations = self.served.setdefault(name, [])
        place = self.folder / f"{name}{len(generations)}"
        place.mkdir()
        server = {
            "public_url": self.url,
            "machine": name,
            "agent_check_port": self.checks[name],
            "workers": 1,
            "max_calls": self.seats.get(name, 20),
        }
        changes = {
            "server": server,
            "hold": {"render": False},
            "shutdown": {"drain_s": self.drain_s, "move": True},
            **self.tree,
        }
        stack = self._stacks[name] = AsyncExitStack()
        served = serving(
            self.lab, place, changes=changes, environment=self.keys, port=self.ports[name]
        )
        generations.append(await stack.enter_async_context(served))

    async def stop(self, name: str) -> None:
        """Stop a machine as an operator would; it must end in time, without a failure."""
        served = self.served[name][-1]
        served.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await served.process.wait() == 0
        await self._stacks.pop(name).aclose()

    async def close(self) -> None:
        async with asyncio.TaskGroup() as closing:
            for stack in self._stacks.values():
                closing.create_task(stack.aclose())

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of all machines, in the order of their clock."""
        found = [
            entry
            for generations in self.served.values()
            for served in generations
            for entry in entries_of(served)
        ]
        return sorted(found, key=lambda entry: str(entry["at"]))

    def told(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries() if entry["event"] == name]


@asynccontextmanager
async def fleet(
    lab: RunningLab,
    folder: Path,
    line: Twilio | TelnyxLine | PlivoLine,
    *,
    drain_s: float = 30.0,
    seats: Mapping[str, int] | None = None,
) -> AsyncIterator[Fleet]:
    front = free_port()
    ports, checks = ({name: free_port() for name in MACHINES} for _ in range(2))
    async with AsyncExitStack() as stack:
        store = stack.enter_context(running_redis())
        tree = dict(await stack.enter_async_context(line.prepare(folder)))
        keys = secrets_in(tree) | {"HOLDLINE__SERVER__STORE": store.url}
        it = Fleet(
            lab=lab, folder=folder, tree=tree, keys=keys,
            url=f"http://127.0.0.1:{front}", ports=ports, checks=checks, drain_s=drain_s,
            seats=seats or {},
        )  # fmt: skip
        stack.push_async_callback(it.close)
        async with asyncio.TaskGroup() as starting:
            for name in MACHINES:
                starting.create_task(it.start(name))
        stack.enter_context(haproxy(ports, checks, port=front))
        await answers(it.url)
        yield it


def agent_words(entries: list[dict[str, Any]], call_id: str) -> str:
    words = [e for e in entries if e["event"] == "AgentSaid" and e["call_id"] == call_id]
    return " ".join(str(entry["text"]) for entry in words)


@ANY_LINE
async def test_machines_are_replaced_one_by_one_and_no_caller_notices(
    line: Twilio | TelnyxLine | PlivoLine, lab: RunningLab, tmp_path: Path
) -> None:
    async with (
        fleet(lab, tmp_path, line) as it,
        asyncio.timeout(240),
        line.carrier(it.url) as quiet,
        line.carrier(it.url) as talking,
    ):
        await quiet.listen(within_s=20)
        await is_answered(talking)  # in the middle of an answer
        for name in MACHINES:
            await it.stop(name)
            await it.start(name)
        calls = (quiet, talking)
        assert all(call.lost_at for call in calls)
        assert not any(call.ended.is_set() for call in calls)
        for call in calls:
            await answered(call)
        assert not quiet.announcements
        await asyncio.gather(*(call.hang_up() for call in calls))
        await becomes(lambda: len(it.told("CallEnded")) == 2)

    assert_unnoticed(it.entries())


async def test_a_call_that_never_becomes_quiet_is_moved_in_the_middle_of_an_answer(
    lab: RunningLab, tmp_path: Path
) -> None:
    async with (
        fleet(lab, tmp_path, Twilio(), drain_s=3.0) as it,
        asyncio.timeout(180),
        Twilio().carrier(it.url) as call,
    ):
        await is_answered(call)
        await it.stop("a")
        await it.stop("b") if not call.lost_at else None
        await goes_on(call)
        await call.hang_up()
        await becomes(lambda: len(it.told("CallEnded")) == 1)

    assert_unnoticed(it.entries())


async def test_no_more_calls_are_moved_than_the_others_have_seats(
    lab: RunningLab, tmp_path: Path
) -> None:
    line = Twilio()
    async with fleet(lab, tmp_path, line, seats={"b": 1}) as it, asyncio.timeout(120):
        await it.stop("b")
        async with line.carrier(it.url) as first, line.carrier(it.url) as second:
            calls = (first, second)
            for call in calls:
                await call.listen(within_s=20)
            await it.start("b")
            await asyncio.sleep(3)  # each knows the other's seats
            it.served["a"][-1].process.send_signal(signal.SIGTERM)
            await asyncio.sleep(5)
            moved = [call for call in calls if call.lost_at]
            assert (len(moved), first.announcements, second.announcements) == (1, [], [])
            await asyncio.gather(*(call.hang_up() for call in calls))


def assert_unnoticed(entries: list[dict[str, Any]]) -> None:
    """Assert that each call has one end, one greeting, and each answer once."""

    def told(name: str) -> list[dict[str, Any]]:
        return [entry for entry in entries if entry["event"] == name]

    ids = {entry["call_id"] for entry in told("CallStarted")}
    assert [entry["reason"] for entry in told("CallEnded")] == ["caller_hung_up"] * len(ids)
    assert len(told("CallMoved")) == len(told("CallStarted")) - len(ids)
    assert not told("CallRefused")
    heard = [agent_words(entries, call_id) for call_id in ids]
    for said in heard:
        assert BACK not in said
        assert said.count("Hello") == said.count("We are at twelve") == 1
    answer = max(heard, key=len).partition("How can I help?")[2].partition("We are at twelve")[0]
    spare = len(answer.replace(PROMPT, "").split()) - len(hours("").split())
    assert 0 <= spare <= IN_FLIGHT, answer


async def answered(call: Carrier) -> None:
    """Ask a question, and hear the answer."""
    began = len(call.heard_at)
    await ask(call, "Where are you?")
    await call.listen(within_s=20)
    assert len(call.heard_at) > began
