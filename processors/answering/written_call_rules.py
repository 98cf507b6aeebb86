"""Finds the tool calls that a model wrote as text, whatever their form.

A form is known by its structure, not by the model's name. A call names a tool that is offered, and
its arguments fit the tool's schema. Both may stand

- in JSON, or what is nearly JSON: `{"name": "book", "arguments": {...}}`, `{"book": {...}}`, with
  other keys, in lists, or as JSON within a string;
- before JSON: `book{...}`, `book` and JSON on the next line, `Action: book`, `to=functions.book`;
- in tags: `<function=book><parameter=day>`, `<invoke name="book">`, `<book><day>`, `<arg_key>`;
- in code: `book(day="Monday")`, `print(api.book("Monday"))`.

Anything else is no call. So text that only looks like one never runs a tool.
"""

import ast
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from calls.tool_schema import problems

Tools: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The offered tools: the JSON schema of each one's arguments, by name."""
Call: TypeAlias = tuple[str, dict[str, Any]]

MAX_TRIED: Final = 50  # beginnings of JSON or code in one text; each costs a pass over the rest
MAX_DEPTH: Final = 6  # of JSON or tags in which calls are looked for; the deepest form has four
NAME_WITHIN: Final = 120  # characters before JSON in which its tool may be named
UNREADABLE: Final = (ValueError, SyntaxError, RecursionError, MemoryError, TypeError)
_BAR: Final = r"[|\uff5c]"
_VENDOR: Final = re.compile(
    rf"(</?)(?:{_BAR}[^<>\s|\uff5c]{{1,20}}{_BAR}|[\w-]{{1,20}}:)(?=[A-Za-z])"
)
_QUOTED: Final = re.compile(rf"(<escape>|<{_BAR}\"{_BAR}>)(.*?)(?:\1|</escape>)", re.DOTALL)
_NAMESPACE: Final = re.compile(r"\]<\][\w.:-]{1,24}\[>\[")  # MiniMax's, before each tag
_CURLY: Final = re.compile("[\u201c-\u201f]")  # typographic quotation marks
_TAG: Final = re.compile(
    r"<(/?)([A-Za-z_][\w.-]*)(?:=\s*[\"']?([^\s\"'>/]+)[\"']?)?"
    r"((?:\s+[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))*)\s*(/?)>"
)
_ATTRIBUTE: Final = re.compile(r"([\w.:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))")
_NAMES_TOOL: Final = re.compile(
    r"name|tool|func|action|command|recipient|method|api|call|operation"
)
_HOLDS_ARGUMENTS: Final = re.compile(r"arg|param|input|payload|body|data")
_APART: Final = frozenset({"type", "id", "call_id", "tool_call_id", "index", "role"})
_WRAPS: Final = ("function", "command")  # `{"type": "function", "function": {"name": ...}}`
MCP_CALL: Final = "tools/call"  # the method whose parameters are the call
_LITERALS: Final = {"true": True, "false": False, "null": None}
_BEGINS: Final = re.compile(rf"(?!\[[A-Z_]+\])[\[{{(]|<(?!{_BAR})")  # `[ARGS]` begins no call
_OF_WORDS: Final = r"(?:b|br|em|i|li|ol|p|strong|u|ul)\s*/?>"  # tags in what is spoken
_CLOSING_TAG: Final = re.compile(rf"</(?!{_OF_WORDS})([\w.:-]+)\s*>|(?<!<br)(?<!<br )/>")
_OPENING_TAG: Final = re.compile(rf"\s*<(?!{_OF_WORDS})[A-Za-z_]")
_END_OF_FENCE: Final = re.compile(r"\s*`{3,}")
_GOES_ON: Final = re.compile(r"\s*[,:]\s*[\"{\[]")  # JSON with a bracket too few or too many
_CODE: Final = re.compile(
    r"(?m)\w\(|\w\[[\"'\d]|^[ \t]*(?:[\w.]+[ \t]*=(?!=)|(?:return|import)\b|#)"
)
_PLAIN_INPUT: Final = re.compile(r"(?i)action[ _]input\s*:[ \t]*+(?![{\[]|```)([^\n]*)")


def find_calls(text: str, tools: Tools) -> list[Call]:
    """Return the calls of offered tools with valid arguments, in their order in the text.

    An empty list if there are none, or if no tools are offered.
    """
    if not tools:
        return []
    text = _VENDOR.sub(r"\1", _NAMESPACE.sub("", text))
    text = _QUOTED.sub(lambda found: json.dumps(found[2]), text)
    return list(_calls_in_tags(_outermost_elements(text), tools)) or list(
        _calls_in_json_and_code(text, tools)
    )


def looks_like_call(value: Any) -> bool:
    """Return whether a JSON value is a call, or contains one, of whichever tool."""
    items = _items_of(value)
    if items:
        return all(map(looks_like_call, items))
    given = as_object(value)
    return _is_call(given) or any(map(looks_like_call, given.values()))


def as_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for any other value."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _items_of(value: Any) -> Sequence[Any]:
    """Return the items of a list; none for any other value."""
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()


def _is_call(value: Mapping[str, Any]) -> bool:
    """Return whether an object names a tool in addition to its arguments."""
    named = any(isinstance(item, str) and _names_tool(key) for key, item in value.items())
    holds = any(_holds_arguments(key) or isinstance(value[key], Mapping) for key in value)
    return named and holds


def read_json(text: str, at: int) -> tuple[Any, int]:
    """Return the JSON or nearly JSON value at `at`, and its end.

    Raises:
        ValueError: There is none. Also other errors in `UNREADABLE`.
    """
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, at)
    except ValueError:
        end = closing(text, at)
        return _nearly_json(text[at:end]), end


def closing(text: str, at: int) -> int:
    """Return the end of the text in brackets that begins at `at`.

    Raises:
        ValueError: It is not closed.
    """
    brackets = Brackets()
    for place in range(at, len(text)):
        if brackets.close(text[place]):
            return place + 1
    raise ValueError("an open bracket")


def end_of_first_call(text: str, *, may_be_code: bool) -> int:
    """Return where the first call in a text ends: after its brackets, or its last closing tag.

    The text's length if it is not complete, or if more JSON or code follows. Only a call with round
    brackets is code.
    """
    begins = _BEGINS.search(text)
    if begins is None or (begins[0] == "(" and not may_be_code):
        return len(text)
    if begins[0] == "<":
        return _end_of_tags(text)
    try:
        end = closing(text, begins.start())
    except ValueError:
        return len(text)
    fence = _END_OF_FENCE.match(text, end)
    end = fence.end() if fence else end
    is_code = begins[0] == "(" or text[: begins.start()].rstrip().endswith("=")
    goes_on = _GOES_ON.match(text, end) or (is_code and _CODE.search(text, end))
    return len(text) if goes_on else end


def _end_of_tags(text: str) -> int:
    """Return where the last element in a text ends; the text's length if it is cut off."""
    tags = _CLOSING_TAG.finditer(text)
    ends = (tag.end() for tag in tags if not tag[1] or f"<{tag[1]}" in text)  # no `</s>`
    end = max(ends, default=len(text))
    return len(text) if _OPENING_TAG.match(text, end) else end


class Brackets:
    """Finds the end of text in brackets, character by character; quoted brackets do not count."""

    def __init__(self) -> None:
        """Begin before the first bracket."""
        self._depth = 0
        self._quote = ""
        self._escaped = False
        self._last = ""  # the last character outside quotes that is not white space

    def close(self, character: str) -> bool:
        """Read a character; return whether it closes the first bracket."""
        if self._quote:
            if self._escaped or character == "\\":
                self._escaped = not self._escaped
            elif character == self._quote:
                self._quote = ""
            return False
        if character == '"' or (character == "'" and self._last in "[{(,:="):
            self._quote = character
        self._depth += (character in "[{(") - (character in "]})")
        self._last = character if not character.isspace() else self._last
        return self._depth == 0


def _nearly_json(piece: str) -> Any:
    """Return the value of a Python literal, or of JSON whose keys have no quotes."""
    try:
        return ast.literal_eval(piece)
    except UNREADABLE:
        quoted = re.sub(r"([{,]\s*)([A-Za-z_]\w*)\s*:", r'\1"\2":', _CURLY.sub('"', piece))
        return json.loads(re.sub(r",(\s*[}\]])", r"\1", quoted), strict=False)


def _calls_in_json_and_code(text: str, tools: Tools) -> Iterator[Call]:
    """Yield the calls in JSON and code, in their order; at most `MAX_TRIED` places are read.

    A JSON value may also be the arguments of a tool that is named shortly before it.
    """
    names = "|".join(map(re.escape, tools))
    begins = re.compile(rf"[{{\[]|(?<![\w.])(?:\w+[.:])*({names})(?:\.\w+)?\s*\(")
    named = re.compile(rf"(?<!\w)({names})(?!\w)")
    at = before = 0
    for _ in range(MAX_TRIED):
        match = begins.search(text, at)
        if match is None:
            break
        try:
            if name := match[1]:
                at = closing(text, match.end() - 1)
                calls = _valid_call(
                    name, _code_arguments(text[match.end() - 1 : at], tools[name]), tools
                )
            else:
                value, at = read_json(text, match.start())
                before_it = text[max(before, match.start() - NAME_WITHIN) : match.start()]
                calls = _calls_in_json(value, tools) or _named_before(
                    named.findall(before_it), value, tools
                )
        except UNREADABLE:
            at = match.start() + 1
            continue
        before = at
        yield from calls
    if before == 0 and (given := _PLAIN_INPUT.search(text)):
        yield from _named_before(named.findall(text[: given.start()]), given[1].strip(), tools)


def _named_before(names: Sequence[str], arguments: Any, tools: Tools) -> list[Call]:
    """Return the call of the tool that is named last before its arguments, if it is valid."""
    return _valid_call(names[-1], arguments, tools) if names else []


def _calls_in_json(value: Any, tools: Tools, depth: int = 0) -> list[Call]:
    """Return the call that a JSON value is, or else the calls within it."""
    given = as_object(value)
    inner = [*_items_of(value), *given.values()] if depth < MAX_DEPTH else []
    if found := _call_of_object(given, tools):
        return found
    wraps = any(isinstance(given.get(key), Mapping) for key in _WRAPS)
    if _is_call(given) and not wraps and given.get("method") != MCP_CALL:
        return []  # a call of another tool; its arguments are not calls
    return [call for item in inner for call in _calls_in_json(item, tools, depth + 1)]


def _call_of_object(value: Mapping[str, Any], tools: Tools) -> list[Call]:
    """Return the call that an object is, in a list; empty if it is none.

    A key may name the tool, with the arguments as its value, or a value under a key such as `name`.
    """
    for key, item in value.items():
        if isinstance(item, Mapping) and (found := _valid_call(key, item, tools)):
            return found
        if isinstance(item, str) and _names_tool(key):
            calls = (
                _valid_call(_bare_name(item), given, tools)
                for given in _arguments_beside(key, value)
            )
            if found := next(filter(None, calls), list[Call]()):
                return found
    return []


def _arguments_beside(named: str, value: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what may be the arguments in an object that names a tool under the key `named`."""
    others = {key: item for key, item in value.items() if key != named}
    held = [item for key, item in others.items() if _holds_arguments(key)]
    yield from held
    yield from filter(None, map(as_object, others.values()))
    if not held:
        yield {key: item for key, item in others.items() if key not in _APART}


def _names_tool(key: Any) -> bool:
    return _NAMES_TOOL.search(str(key).lower()) is not None


def _holds_arguments(key: Any) -> bool:
    return _HOLDS_ARGUMENTS.search(str(key).lower()) is not None


def _bare_name(name: str) -> str:
    """Return a tool's name without a namespace or a number, as in `functions.book:0`."""
    return re.sub(r":\d+$", "", name.strip()).rpartition(".")[2]


def _valid_call(name: str, arguments: Any, tools: Tools) -> list[Call]:
    """Return the call in a list.

    An empty one if no such tool is offered, or the arguments are wrong.
    """
    schema = tools.get(name)
    if schema is None:
        return []
    if isinstance(arguments, str):
        arguments = _arguments_in(arguments, schema)
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping) or problems(arguments, schema):
        return []
    return [(name, dict(as_object(arguments)))]


def _arguments_in(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the arguments in a string: JSON, or the value of the only argument that is needed."""
    found: Any = {}
    if text.strip():
        with suppress(*UNREADABLE):
            found = json.loads(text, strict=False)
        needed: Sequence[str] = list(schema.get("required") or schema.get("properties") or ())
        if not as_object(found) and len(needed) == 1:
            return {needed[0]: text}
    return found


def _code_arguments(piece: str, schema: Mapping[str, Any]) -> Any:
    """Return the arguments in the brackets of a call in code.

    Raises:
        ValueError: They cannot be read. Also other errors in `UNREADABLE`.
    """
    try:
        call = ast.parse(f"f{piece}", mode="eval").body
    except SyntaxError:
        return _nearly_json(f"{{{piece[1:-1]}}}")
    if not isinstance(call, ast.Call):
        raise ValueError("not a call")  # noqa: TRY004 - callers treat it as unreadable text
    if len(call.args) == 1 and isinstance(call.args[0], ast.Dict | ast.Set) and not call.keywords:
        return _nearly_json(piece[1:-1].strip())
    placed = zip(schema.get("properties") or {}, call.args, strict=False)
    named = [(item.arg, item.value) for item in call.keywords if item.arg]
    return {name: _literal_value(node) for name, node in [*placed, *named]}


def _literal_value(node: ast.expr) -> Any:
    """Return the value of a literal, also of JSON's and JavaScript's words for it.

    Raises:
        ValueError: It is no literal.
    """
    if isinstance(node, ast.Name) and node.id in _LITERALS:
        return _LITERALS[node.id]
    return ast.literal_eval(node)


@dataclass(slots=True, kw_only=True)
class _Element:
    """A tag with its content."""

    name: str
    value: str  # of `<function=value>`
    attributes: Mapping[str, str]
    begins: int  # of its content
    is_cut: bool = False  # neither it nor an outer element is closed
    content: str = ""
    inner: "list[_Element]" = field(default_factory=list["_Element"])


def _outermost_elements(text: str) -> list[_Element]:
    """Return the outermost elements; one that is not closed ends where the outer one does."""
    root = _Element(name="", value="", attributes={}, begins=0)
    open_elements = [root]
    for tag in _TAG.finditer(text):
        closes, name, value, attributes, single = tag.groups()
        if closes:
            depth = max((n for n, e in enumerate(open_elements) if e.name == name), default=0)
            for element in open_elements[depth:] if depth else ():
                element.content = text[element.begins : tag.start()]
            open_elements = open_elements[: depth or None]
            continue
        given = {key: a or b or c for key, a, b, c in _ATTRIBUTE.findall(attributes)}
        element = _Element(name=name, value=value or "", attributes=given, begins=tag.end())
        open_elements[-1].inner.append(element)
        if not single and len(open_elements) <= MAX_DEPTH:
            open_elements.append(element)
    for element in open_elements[1:]:
        element.content, element.is_cut = text[element.begins :], True
    return root.inner


def _calls_in_tags(elements: Sequence[_Element], tools: Tools) -> Iterator[Call]:
    """Yield the call that each element is, or else the calls within it."""
    for element in elements:
        found = _call_of(element, tools)
        yield from found or _calls_in_tags(element.inner, tools)


def _call_of(element: _Element, tools: Tools) -> list[Call]:
    """Return the call that an element is, in a list; empty if no part of it names an offered tool.

    The arguments are read from inner tags, from JSON in its content, or else from its attributes.
    """
    lead = re.match(r"\s*([\w.:]+)\s*(?=[<{\n]|$)", element.content)
    named = [element.value, *element.attributes.values(), element.name, lead[1] if lead else ""]
    named += [inner.content for inner in element.inner]
    name = next((bare for name in named if (bare := _bare_name(name)) in tools), None)
    if name is None:
        return []
    try:
        pairs = _arguments_in_tags(element.inner, name)
    except ValueError:
        pairs = None
    beside = {key: item for key, item in element.attributes.items() if _bare_name(item) != name}
    given: list[Any] = [_as_schema_types(pairs, tools[name])] if pairs else []
    if begins := re.search(r"[{\[]", element.content):
        with suppress(*UNREADABLE):
            given.append(read_json(element.content, begins.start())[0])
    given += [] if given or pairs is None else [_as_schema_types(beside, tools[name])]
    return next(
        (call for arguments in given if (call := _valid_call(name, arguments, tools))), list[Call]()
    )


def _arguments_in_tags(elements: Sequence[_Element], tool: str) -> dict[str, str]:
    """Return arguments by their names, from tags such as `<day>` or pairs of a key and a value.

    Texts that are only the tool's name are left out.

    Raises:
        ValueError: A value is cut off.
    """
    pairs = dict[str, str]()
    key = ""
    for element in elements:
        text = html.unescape(element.content.strip())
        named = element.value or element.attributes.get("name") or element.attributes.get("key")
        if key and not element.is_cut:
            pairs[key], key = text, ""
        elif not named and element.name.lower().endswith("key"):
            key = text
        elif element.inner and not named:
            pairs |= _arguments_in_tags(element.inner, tool)
        elif element.is_cut:
            raise ValueError("a value is cut off")
        elif _bare_name(text) != tool:
            pairs[named or element.name] = text
    return pairs


def _as_schema_types(pairs: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments written in tags as their schema's types; a wrong one stays a string."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    return {key: _as_type(text, properties.get(key) or {}) for key, text in pairs.items()}


def _as_type(text: str, schema: Mapping[str, Any]) -> Any:
    """Return a text as its schema's type; the text itself if it cannot be read as that."""
    if "string" in (schema.get("type") or "string"):
        return text
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except UNREADABLE:
        return text
