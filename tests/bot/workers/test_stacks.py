"""A frozen worker's stack names the function that blocks it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bot.workers.stacks import SIGNAL, place_in, read_stacks

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


def test_no_stack_names_nothing() -> None:
    assert place_in("") == ""
