"""The event loop of a process that carries calls."""

import asyncio
import sys

import pytest

from runtime.loops import run


def exits() -> None:
    sys.exit(3)


async def exits_later() -> None:
    exits()


@pytest.mark.parametrize("in_task", [True, False], ids=["in a task", "in a callback"])
def test_code_that_exits_ends_only_itself(*, in_task: bool) -> None:
    done = list[int]()

    async def other_call(number: int) -> None:
        await asyncio.sleep(0.01)
        done.append(number)

    async def main() -> str:
        loop = asyncio.get_running_loop()
        calls = [asyncio.create_task(other_call(number)) for number in range(3)]
        ended = asyncio.create_task(exits_later()) if in_task else loop.call_soon(exits)
        await asyncio.gather(*calls)
        del ended
        return "over"

    assert run(main()) == "over"
    assert done == [0, 1, 2]


def test_the_programs_own_exit_ends_it() -> None:
    with pytest.raises(SystemExit) as ended:
        run(exits_later())

    assert ended.value.code == 3
