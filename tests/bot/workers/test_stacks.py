"""A frozen worker's stack names the function that blocks it."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bot.workers.stacks import SIGNAL, place_in, read_stacks
from bot.workers.supervisor import _kill_hung
from bot.workers.worker_process import Worker, WorkerParameters

BODY = """
import sys, time, re, threading
from pathlib import Path
from bot.workers.stacks import write_stacks_at_signal
write_stacks_at_signal(Path(sys.argv[1]))
def sleeps(): time.sleep(9)
def searches(): re.match(r"(a+)+$", "a" * 40 + "b")
print("ready", flush=True)
"""
CASES = {
    "a blocking call": ("sleeps()", "sleeps"),
    "C code with Python's lock": ("searches()", "searches"),
    "another thread with the lock": (
        "t = threading.Thread(target=searches); t.start(); t.join()",
        "searches",
    ),
}


@pytest.mark.parametrize(("line", "function"), CASES.values(), ids=CASES)
def test_the_function_that_blocks_a_process_is_named(
    tmp_path: Path, line: str, function: str
) -> None:
    program = tmp_path / "shop.py"
    program.write_text(f"{BODY}{line}\n")
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, program, tmp_path], stdout=subprocess.PIPE, cwd=Path.cwd(),
        env={"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        place = ""
        for _ in range(50):
            time.sleep(0.05)  # so that the program has reached the line
            process.send_signal(SIGNAL)
            place = place_in(read_stacks(tmp_path, process.pid))
            if function in place:
                break
        assert place.startswith(f"{function} ({program}:")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("stops", "reason"),
    [(False, r"was killed, because sleeps \(.*shop\.py:\d+\) blocked it"),
     (True, "was killed, because it did not respond")],
)  # fmt: skip
async def test_a_worker_that_hangs_is_killed_and_reported_with_what_blocked_it(
    tmp_path: Path, *, stops: bool, reason: str
) -> None:
    program = tmp_path / "shop.py"
    program.write_text(f"{BODY}sleeps()\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, tmp_path, stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(0.1)  # so that the program has reached the line
    if stops:
        process.send_signal(signal.SIGSTOP)
    worker = Worker(
        WorkerParameters(
            number=1, workers=1, pool_id="", config=None, flags={}, board="", metrics=""
        )
    )
    worker._process = process

    await _kill_hung(worker, tmp_path)
    worker.code = await process.wait()

    kind, told = worker.loss
    assert (kind, worker.code) == ("frozen", -signal.SIGKILL)
    assert re.fullmatch(reason, told)


def test_no_stack_names_nothing() -> None:
    assert place_in("") == ""
