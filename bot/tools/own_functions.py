"""Makes tools of an owner's Python functions: schema, descriptions, and the check of arguments."""

import importlib
import inspect
import json
import operator
import re
import sys
import threading
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Final, cast, get_origin, get_type_hints

import docstring_parser
from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from bot.tools.owner_threads import OwnerBusy, in_owner_loop, in_thread
from bot.tools.toolbox import RESULT_LIMIT, ArgumentsRefused, Run, Tool, ToolFailed, shorten
from calls.caller import clean
from configuration.agent import ToolSettings
from operations.telemetry import logs

THREADS: Final = 4  # per tool of a call; a function that hangs occupies its thread
NAMES: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # that OpenAI accepts
DESCRIPTION_CHARACTERS: Final = 1024  # OpenAI's limit
SCHEMA_CHARACTERS: Final = 16_000  # the model reads the schema with every request (chosen)
NESTED: Final = 5  # types within types; a type that contains itself is an object of any kind there
ERRORS_TOLD: Final = 5
ERROR_CHARACTERS: Final = 500

_SUBSCHEMAS: Final = ("items", "additionalProperties")
_ALTERNATIVES: Final = ("anyOf", "oneOf", "allOf", "prefixItems")


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnFunction:
    """A function with what its signature and docstring say."""

    function: Callable[..., Any]
    description: str
    parameters: Mapping[str, Any] | None  # `None` if the signature cannot be read
    adapter: TypeAdapter[Any] | None  # checks and converts the arguments
    unreadable: str = ""  # why there are no parameters


class _SchemaMaker(GenerateJsonSchema):
    """Pydantic's schema, without a warning for a default that JSON cannot express."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - Pydantic's


def function_tool(settings: ToolSettings) -> Tool:
    """Return the tool of an entry point.

    Raises:
        ValueError: The entry point cannot be used; the message follows its name.
    """
    place = settings.entry_point or ""
    own = _own_function(place)
    given = settings.parameters if settings.parameters.get("properties") else None
    parameters = given or own.parameters
    if parameters is None:
        raise ValueError(own.unreadable)
    for name in settings.bound:
        if name not in parameters["properties"]:
            raise ValueError(f"has no parameter `bound.{name}`")
    _refuse_other_names(own.function, parameters["properties"])
    name = settings.name or re.split("[:.]", place)[-1]
    return Tool(
        name=name,
        description=settings.description or own.description or name,
        parameters=parameters,
        checks=not given,
        run=_run_of(own),
        timeout_s=settings.timeout_s,
        bridge=settings.bridge,
        own_thread=True,
    )


@cache
def _own_function(entry_point: str) -> _OwnFunction:
    """Return the function of an entry point (`module:name`), which a process looks up once.

    The look-up may run the owner's code, such as a property that connects to a database.

    Raises:
        ValueError: The entry point cannot be used; the message follows its name.
    """
    return _read_function(_load_function(entry_point))


def _load_function(entry_point: str) -> Callable[..., Any]:
    """Import an entry point; raise `ValueError` if it is nothing that a tool can call."""
    module, _, name = entry_point.partition(":")
    try:
        with logs.kept():
            function = operator.attrgetter(name)(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # the owner's module may raise anything
        raise ValueError(f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise ValueError("is not a function")  # noqa: TRY004
    if inspect.isclass(function):
        raise ValueError("is a class; name a function, or an object of it that can be called")
    inner = _wrapped_function(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise ValueError("is a generator; let it return a list instead of yielding")
    if hasattr(function, "register") and hasattr(function, "__wrapped__"):  # `singledispatch`
        raise ValueError("needs an argument without a name; name a function that calls it")
    return function


def _wrapped_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside a partial or a callable object."""
    while isinstance(function, partial):
        function = function.func
    is_plain = inspect.isroutine(function)
    return function if is_plain else type(function).__call__


def _read_function(function: Callable[..., Any]) -> _OwnFunction:
    """Read a function's docstring and signature.

    An unusable signature raises nothing: it is only needed if the settings give no parameters.
    """
    description, described = _described_parameters(_docstring_of(function))
    parameters, adapter, unreadable = None, None, ""
    try:
        named = _fillable_parameters(function)
        adapter = _adapter_of(named)
        _refuse_hidden(function, named)
        parameters = _schema_of(adapter, _annotated_descriptions(named) | described)
    except ValueError as error:
        unreadable = str(error)
    return _OwnFunction(
        function=function,
        description=description,
        parameters=parameters,
        adapter=adapter,
        unreadable=unreadable,
    )


def _docstring_of(function: Callable[..., Any]) -> str:
    """Return the docstring of a function, or of a callable object's method or class."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function):
        return inspect.getdoc(function) or ""
    return inspect.cleandoc(type(function).__call__.__doc__ or type(function).__doc__ or "")


def _described_parameters(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the first paragraph of a docstring, and its descriptions of parameters."""
    try:
        read = docstring_parser.parse(docstring)
    except docstring_parser.ParseError:
        return clean(docstring.partition("\n\n")[0], DESCRIPTION_CHARACTERS), {}
    first = (read.description or "").partition("\n\n")[0]
    found = {item.arg_name: item.description or "" for item in read.params}
    found = {name: clean(text, DESCRIPTION_CHARACTERS) for name, text in found.items()}
    return clean(first, DESCRIPTION_CHARACTERS), found


def _annotated_descriptions(parameters: Sequence[inspect.Parameter]) -> dict[str, str]:
    """Return the descriptions in types such as `Annotated[str, "The day."]`, or with `Doc`."""
    found: dict[str, str] = {}
    for item in parameters:
        metadata = getattr(item.annotation, "__metadata__", ())
        texts = (getattr(part, "documentation", part) for part in metadata)  # PEP 727
        found[item.name] = next((text for text in texts if isinstance(text, str)), "")
    return {name: clean(text, DESCRIPTION_CHARACTERS) for name, text in found.items() if text}


def _fillable_parameters(function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """Return the parameters that a model can fill.

    Left out are those that a partial fills, and those with a default and a type that JSON cannot
    express, such as a client. Others by name (`**others`) can only be filled if the settings list
    them. The type of the result is not read: it may exist for type checkers alone.

    Raises:
        ValueError: A parameter cannot be filled, or the signature cannot be read.
    """
    try:
        declared = _signature(function)
    except Exception as error:  # annotations are the owner's code
        why = f"{type(error).__name__}: {error}; give its `parameters`"
        raise ValueError(f"has no signature to read: {why}") from error
    names = getattr(
        _wrapped_function(inspect.unwrap(_wrapped_function(function))), "__globals__", {}
    )
    filled = function.keywords if isinstance(function, partial) else {}
    usable: list[inspect.Parameter] = []
    for declared_item in declared.parameters.values():
        item, wrong = _evaluated(declared_item, names)
        if item.kind is item.VAR_POSITIONAL or item.name in filled:
            continue
        if item.kind is item.VAR_KEYWORD and not wrong:
            if "Unpack" in repr(get_origin(item.annotation)):  # `typing_extensions` has its own
                raise ValueError(f"has `**{item.name}` with a type; name its parameters instead")
            usable.append(item)
            continue
        wrong = wrong or _why_unusable(item)
        if wrong and item.default is item.empty:
            raise ValueError(f"has the parameter `{item.name}`, {wrong}")
        if not wrong:
            usable.append(item.replace(kind=item.KEYWORD_ONLY))
    return usable


def _signature(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """Return the signature; types that do not exist at run time stay names."""
    if sys.version_info >= (3, 14):  # which evaluates the others here
        from annotationlib import Format  # noqa: PLC0415 - new in 3.14

        names = {"annotation_format": Format.FORWARDREF}
        return inspect.signature(function, follow_wrapped=follow_wrapped, **names)
    return inspect.signature(function, follow_wrapped=follow_wrapped)


def _evaluated(item: inspect.Parameter, names: dict[str, Any]) -> tuple[inspect.Parameter, str]:
    """Return a parameter with its type in place of the type's name; else why it has none."""
    if item.annotation is item.empty:
        return item, ""
    holder = SimpleNamespace(__annotations__={item.name: item.annotation})
    try:
        hints = get_type_hints(holder, names, include_extras=True)
    except Exception as error:  # noqa: BLE001 - annotations are the owner's code
        why = f"{type(error).__name__}: {clean(str(error), 100)}"
        cure = "import it also at run time, or give its `parameters`"
        return item, f"whose type cannot be read ({why}); {cure}"
    return item.replace(annotation=hints[item.name]), ""


def _refuse_hidden(function: Callable[..., Any], named: Sequence[inspect.Parameter]) -> None:
    """Refuse what a decorator without `functools.wraps` returns.

    Raises:
        ValueError: It takes any parameters, so that those of the function inside are unknown.
    """
    takes_any = bool(named) and all(item.kind is item.VAR_KEYWORD for item in named)
    if takes_any and "<locals>" in getattr(function, "__qualname__", ""):
        raise ValueError(
            "hides its parameters; add `functools.wraps` to its decorator, or give its `parameters`"
        )


def _refuse_other_names(function: Callable[..., Any], names: Iterable[str]) -> None:
    """Refuse a function that cannot be called with arguments of these names.

    Raises:
        ValueError: The settings list other names, or a decorator passes none on.
    """
    try:
        outer = _signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # written in C
        return
    try:
        outer.bind(**dict.fromkeys(names))
    except TypeError as wrong:
        raise ValueError(
            f"cannot be called with its `parameters`: {wrong}; list those that it takes, and "
            "let its decorators pass them on by name"
        ) from wrong


def _why_unusable(item: inspect.Parameter) -> str:
    """Return why a model cannot fill a parameter; empty if it can."""
    if item.kind is item.POSITIONAL_ONLY:
        return "which has no name for the model; remove the `/`"
    if item.name == "self":
        return "because it is a method of a class; name a method of an object"
    if item.annotation is item.empty:
        return ""
    try:
        TypeAdapter(item.annotation).json_schema(schema_generator=_SchemaMaker)
    except Exception as error:  # noqa: BLE001 - types are the owner's code
        why = f"{type(error).__name__}: {clean(str(error), 100)}"
        return f"whose type has no JSON schema ({why}); use another type, or give it a default"
    return ""


def _adapter_of(parameters: Sequence[inspect.Parameter]) -> TypeAdapter[Any]:
    """Return an adapter that checks and converts arguments, and returns all of them by name.

    Raises:
        ValueError: A parameter's type has no schema.
    """

    def collect(**arguments: Any) -> Mapping[str, Any]:
        return arguments

    collect.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    collect.__annotations__ = {
        item.name: item.annotation for item in parameters if item.annotation is not item.empty
    }
    try:
        return TypeAdapter(cast("type[Any]", collect))
    except Exception as error:  # types are the owner's code
        raise ValueError(f"has types without a schema: {clean(str(error), 200)}") from error


def _schema_of(adapter: TypeAdapter[Any], described: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the JSON schema in the keywords that models' providers accept.

    Raises:
        ValueError: It is longer than `SCHEMA_CHARACTERS`.
    """
    made = adapter.json_schema(schema_generator=_SchemaMaker)
    schema = {"properties": {}, "required": [], **_inline_schema(made, made.get("$defs") or {})}
    schema["additionalProperties"] = False
    for name, parameter in schema["properties"].items():
        if described.get(name):
            parameter.setdefault("description", described[name])
    if (length := len(json.dumps(schema, default=str))) > SCHEMA_CHARACTERS:
        raise ValueError(
            f"has a schema of {length} characters, at most {SCHEMA_CHARACTERS} are allowed; use "
            "simpler types"
        )
    return schema


def _inline_schema(
    schema: Mapping[str, Any], types: Mapping[str, Any], inside: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return a schema without references, titles and constants, which not all providers accept."""
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        if name in inside or len(inside) == NESTED or name not in types:
            return {"type": "object"}
        return _inline_schema(
            {**types[name], **_without_keys(schema, "$ref")}, types, (*inside, name)
        )
    into = partial(_inline_schema, types=types, inside=inside)
    kept = _without_keys(schema, "$defs", "title", "discriminator")
    plain = dict(_plain_keyword(key, value, into) for key, value in kept.items())
    if plain.get("type") == "array" and "items" not in plain:  # OpenAI accepts none without
        plain["items"] = {"anyOf": plain["prefixItems"]} if plain.get("prefixItems") else {}
    return plain


def _plain_keyword(key: str, value: Any, into: Callable[[Any], Any]) -> tuple[str, Any]:
    """Return a keyword and its value as providers accept them; `into` converts subschemas."""
    if key == "const":
        return "enum", [value]
    if key == "properties":
        return key, {name: into(item) for name, item in value.items()}
    if key in _ALTERNATIVES:
        return "anyOf" if key == "oneOf" else key, [into(item) for item in value]
    if key in _SUBSCHEMAS and isinstance(value, Mapping):
        return key, into(value)
    return key, value


def _without_keys(schema: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def _run_of(own: _OwnFunction) -> Run:
    """Return what runs the function; its arguments are checked in its thread, too.

    The checks and the texts of results may be the owner's code as well.
    """
    free_threads = threading.BoundedSemaphore(THREADS)
    is_asynchronous = inspect.iscoroutinefunction(_wrapped_function(own.function))

    async def run(arguments: Mapping[str, Any]) -> Any:
        """Run the function in the owner's loop or a thread; raise `ToolFailed` if all are busy."""

        async def later(begun: Any = None) -> Any:
            begun = own.function(**_checked_arguments(own, arguments)) if begun is None else begun
            return shorten(await _settled(begun))

        def now() -> Any:
            result = own.function(**_checked_arguments(own, arguments))
            if isinstance(result, Future):  # of an executor, which does the work
                result = cast("Future[Any]", result).result()
            # A decorated asynchronous function may not look like one.
            return result if _is_pending(result) else shorten(result)

        try:
            if is_asynchronous:
                return await in_owner_loop(later)
            result = await in_thread(now, free_threads)
            if _is_pending(result):
                return await in_owner_loop(partial(later, result))
        except OwnerBusy as busy:
            raise ToolFailed(str(busy)) from busy
        return result

    return run


def _is_pending(result: Any) -> bool:
    return inspect.isawaitable(result) or isinstance(result, AsyncIterable)


async def _settled(result: Any) -> Any:
    """Return what a result gives in the end, such as a coroutine that was not awaited.

    An asynchronous iterator gives a list of its first `RESULT_LIMIT` items.
    """
    while inspect.isawaitable(result):
        awaited, result = result, await result
        if result is awaited:  # as Redis's clients and pipelines, which would go on for ever
            break
    if not isinstance(result, AsyncIterable):
        return result
    items: list[Any] = []
    async for item in cast("AsyncIterable[Any]", result):
        items.append(item)
        if len(items) == RESULT_LIMIT:
            break
    return items


def _checked_arguments(own: _OwnFunction, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments in the function's types; raise `ArgumentsRefused` if they do not fit.

    A null that does not fit counts as an argument that was left out.
    """
    if own.adapter is None:
        return arguments
    try:
        return own.adapter.validate_json(json.dumps(dict(arguments)))
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False, include_context=False)
        unfit = {name for error in errors for name in error["loc"][:1]}
        kept = {
            name: value
            for name, value in arguments.items()
            if value is not None or name not in unfit
        }
        if len(kept) < len(arguments):  # models write null for a default
            return _checked_arguments(own, kept)
        told = "; ".join(_error_sentence(error) for error in errors[:ERRORS_TOLD])
        raise ArgumentsRefused(clean(told, ERROR_CHARACTERS)) from wrong


def _error_sentence(error: Mapping[str, Any]) -> str:
    where = ".".join(["arguments", *(str(part) for part in error["loc"])])
    is_missing = str(error["type"]).startswith("missing")
    return f"{where} is missing" if is_missing else f"{where}: {error['msg']}"
