"""Middleware for requests that name a machine in their path (`runtime/machines.py`)."""

from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.machines import SCOPE_KEY, split_path


class MachinePaths:
    """Takes the part that names a machine off each path, before access is checked."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the rest of its path; the scope keeps the machine's part."""
        machine, rest = split_path(scope.get("path", ""))
        if machine:
            scope = {**scope, SCOPE_KEY: machine, "path": rest}
            if isinstance(raw := scope.get("raw_path"), bytes):
                scope["raw_path"] = raw.removeprefix(machine.encode())
        await self._app(scope, receive, send)
