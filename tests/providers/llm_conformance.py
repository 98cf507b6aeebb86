"""The contract of every language model."""

import asyncio
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.processors.aggregators.llm_context import LLMContext

from lab.simulators import faults
from lab.simulators.instance import Instance
from lab.simulators.schedule import Window
from providers.provider import Stage
from tests.kit.bench import QUIET_S, Bench, running
from tests.providers.conformance import Simulated

ASKED: list[Any] = [{"role": "user", "content": "How much is a haircut?"}]


class LlmConformance(Simulated):
    """The contract of a language model."""

    stage: ClassVar[Stage] = "llm"

    async def give_work(self, bench: Bench) -> None:
        await bench.put(LLMContextFrame(LLMContext(list(ASKED))))

    async def finish_work(self, bench: Bench) -> None:
        await self.answers(bench)

    async def answers(self, bench: Bench) -> str:
        """Ask, and return the whole answer."""
        since = len(bench.out)
        await self.give_work(bench)
        await bench.first(LLMFullResponseEndFrame, since=since)
        return "".join(frame.text for frame in bench.all(LLMTextFrame, since=since))

    async def test_it_streams_an_answer_in_pieces_between_a_start_and_an_end(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            answer = await self.answers(bench)

        first = bench.index(LLMFullResponseStartFrame)
        assert answer == peer.record.requests("it")[-1].details["sent"]
        assert len(bench.all(LLMTextFrame)) > 3
        assert first < bench.index(LLMTextFrame) < bench.index(LLMFullResponseEndFrame)

    async def test_a_barge_in_ends_the_answer_and_the_request(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.SlowRate(factor=0.05))])
        async with running(self.service(peer)) as bench:
            await self.give_work(bench)
            await bench.first(LLMTextFrame)
            await bench.put(InterruptionFrame())
            await bench.first(InterruptionFrame)
            since = bench.index(InterruptionFrame)
            await asyncio.sleep(QUIET_S)
            await self.check_nothing_left(peer, bench)

            assert not bench.all(LLMTextFrame, since=since)
            assert peer.record.requests("it")[-1].outcome != "done"

    async def test_late_words_of_a_cancelled_answer_do_not_reach_the_next(
        self, peer: Instance
    ) -> None:
        slow = [Window(fault=faults.SlowRate(factor=0.05), requests=1)]
        async with running(self.service(peer)) as bench:
            peer.set_faults(slow)
            await self.give_work(bench)
            await bench.first(LLMTextFrame)
            await bench.put(InterruptionFrame())
            await bench.first(InterruptionFrame)

            answer = await self.answers(bench)

        assert answer == peer.record.requests("it")[-1].details["sent"]

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_a_failed_request_is_made_once_and_reported(
        self, peer: Instance, status: int
    ) -> None:
        peer.set_faults([Window(fault=faults.Http(status=status))])
        async with running(self.service(peer)) as bench:
            await self.give_work(bench)
            await bench.first(ErrorFrame)
            await asyncio.sleep(QUIET_S)

        assert [request.outcome for request in peer.record.requests("it")] == [str(status)]

    async def test_a_silent_server_is_given_up_in_the_rungs_time(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Silent(where="handshake"))])
        async with running(self.service(peer, timeout_s=0.3)) as bench:
            await self.give_work(bench)
            await bench.until(lambda: bench.all(ErrorFrame), limit_s=3.0)

        assert len(peer.record.requests("it")) == 1

    async def test_it_is_used_again_after_an_error(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Http(status=503), requests=1)])
        async with running(self.service(peer)) as bench:
            await self.give_work(bench)
            await bench.first(ErrorFrame)

            answer = await self.answers(bench)

        assert answer == peer.record.requests("it")[-1].details["sent"]

    async def test_it_is_used_again_after_a_cut_in_the_middle(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Cut(after_words=3), requests=1)])
        async with running(self.service(peer)) as bench:
            cut = await self.answers(bench)
            whole = await self.answers(bench)

        assert len(cut.split()) == 3
        assert whole == peer.record.requests("it")[-1].details["sent"]

    async def test_it_closes_with_the_call_and_leaves_nothing(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            await self.answers(bench)

        await self.check_nothing_left(peer, bench)

    async def test_its_tokens_are_measured(self, peer: Instance) -> None:
        async with running(self.service(peer)) as bench:
            await self.answers(bench)

        (used,) = bench.measured(LLMUsageMetricsData)
        assert used.model == self.model
        assert used.value.prompt_tokens > 0
        assert used.value.completion_tokens > 0
