"""What is wrong with a request, as one sentence and without what it held."""

from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

LONGEST_NAME: Final = 60  # of a field: a stranger may have chosen it


async def explain_request(request: Request, wrong: Exception) -> JSONResponse:
    """Answer 422 with the first thing that is wrong; `detail` is a sentence, as everywhere."""
    del request
    errors = wrong.errors() if isinstance(wrong, RequestValidationError) else ()
    first = errors[0] if errors else {}
    if first.get("type") in ("json_invalid", "json_type"):
        sentence = "The request's body is not valid JSON."
    else:
        place = ".".join(str(each) for each in first.get("loc", ())[1:]) or "The request's body"
        problem = str(first.get("msg", "not what is expected")).rstrip(".")
        sentence = f"{place[:LONGEST_NAME]}: {problem}."
    return JSONResponse({"detail": sentence}, HTTPStatus.UNPROCESSABLE_ENTITY)
