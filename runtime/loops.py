"""The event loop of a process that carries calls."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from loguru import logger

Result = TypeVar("Result")


class CallLoop(asyncio.SelectorEventLoop):
    """An event loop that goes on when code of a vendor or of the owner calls `exit()` in a task.

    asyncio would stop the loop, and so end every call of the process. Only the task ends here.
    """

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future or coroutine is done; as in asyncio, its `SystemExit` is raised."""
        main = future if asyncio.isfuture(future) else self.create_task(future)
        while True:
            try:
                return super().run_until_complete(main)
            except SystemExit as error:
                if main.done():
                    raise
                logger.opt(exception=error).error("code in a task tried to end this process")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` to its end as `asyncio.run` does, but in a `CallLoop`; return its result."""
    with asyncio.Runner(loop_factory=CallLoop) as runner:
        return runner.run(main)
