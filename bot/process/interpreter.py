"""What a process asks of Python itself, so that the loop that serves callers waits for less."""

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005  # chosen: a tenth of Python's own 5 ms


def serve_the_loop_first() -> None:
    """Have the threads that compute give the interpreter back to the loop sooner.

    The loop lets go of it with each packet that it sends. A detector's thread may then keep it for
    `sys.getswitchinterval()`, 5 ms, and again with the next packet: with eight calls at once a
    third of the loop's time was that waiting (profiled).
    """
    sys.setswitchinterval(SWITCH_S)


def spare_the_loaded() -> None:
    """Exempt what is loaded by now from the garbage collector's rounds (`gc.freeze`).

    A full round over Pipecat and the providers' libraries takes 0.05 to 0.2 s (measured on two busy
    cores by benchmarks/turn_latency.py), and no caller is served meanwhile.
    """
    gc.collect()
    gc.freeze()
