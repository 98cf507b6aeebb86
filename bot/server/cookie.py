"""One cookie of a request, as it stands in the head: a stranger's is never unquoted."""

from fastapi import Request


def given_cookie(request: Request, name: str) -> str:
    """Return what a cookie holds, the last of that name; empty: there is none.

    Ours is plain hexadecimal. `request.cookies` unquotes each one with `http.cookies`, which takes
    the square of its length in some versions of Python (CVE-2024-7592): half a second for a head.
    """
    pieces = (each.partition("=") for each in _pieces(request))
    return next((held.strip() for key, _, held in pieces if key.strip() == name), "")


def _pieces(request: Request) -> list[str]:
    return ";".join(request.headers.getlist("cookie")).split(";")[::-1]
