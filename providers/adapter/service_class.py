"""The class of a Pipecat service, loaded by name, and the arguments of its constructor.

Services name the same thing differently: a key is `api_key` or `credentials`, a URL `base_url`,
`url` or `endpoint` (`data/constructors.yaml`). A parameter counts as one of a class if its own
constructor names it, or if it passes other keywords to a base class that names it.
"""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import metadata
from types import ModuleType
from typing import Any, Final

import yaml
from pipecat.services.llm_service import LLMService
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language

from providers.adapter.value_types import class_for_mapping, fields_of, resolved
from providers.catalog import DATA
from providers.provider import RungSpec, Stage
from runtime.exits import error_text, install_command

BASES: Final[Mapping[str, type]] = {"stt": STTService, "llm": LLMService, "tts": TTSService}
NOUNS: Final = {"stt": "a recogniser", "llm": "a model", "tts": "a voice"}
SERVICES: Final = "pipecat.services."
OLDER: Final = ("params", "live_options", "connection_params")
"""Parameters from before Pipecat's services took `settings`."""
PLACES: Final[Mapping[str, Mapping[str, list[str]]]] = yaml.safe_load(
    (DATA / "constructors.yaml").read_text("utf-8")
)


class UnusableServiceError(ValueError):
    """A service cannot be used as a rung; the text says why.

    Attributes:
        word: The name that is wrong, if one is.
        known: Names, one of them probably meant.
    """

    def __init__(self, text: str, *, word: str = "", known: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.word, self.known = word, known


def load_class(service: str, stage: Stage) -> type:
    """Return the class of a service, given as `module:Class`.

    This imports its module, and so runs the code in it.

    Raises:
        UnusableServiceError: There is none that a rung of this stage can use.
    """
    module, name, found = _import_service(service)
    if not inspect.isclass(found):
        known = tuple(name for name, item in vars(module).items() if _stage_of(item))
        known = known or _modules_in(module)
        raise UnusableServiceError(f"{module.__name__} has no class {name}", word=name, known=known)
    wrong = ""
    if (other := _stage_of(found)) != stage:
        noun = f"{NOUNS[other]}, for stages.{other}" if other else "not a service of Pipecat"
        wrong = f"it is {noun}; stages.{stage} needs a subclass of {BASES[stage].__name__}"
    elif stage == "llm" and _hears_itself(found):
        wrong = "it hears and speaks itself; stages.llm needs a model of text"
    elif missing := ", ".join(sorted(getattr(found, "__abstractmethods__", ()))):
        wrong = f"it is abstract and does not define {missing}; name a subclass"
    if wrong:
        raise UnusableServiceError(wrong)
    return found


def _import_service(service: str) -> tuple[ModuleType, str, Any]:
    """Import the module of a service; return it, the class's name, and the class or `None`.

    Raises:
        UnusableServiceError: There is no such module, or importing it failed.
    """
    module_name, _, name = service.partition(":")
    if not all(map(str.isidentifier, module_name.split("."))):
        parts = module_name.removesuffix(".py").replace("/", ".").strip(".")
        raise UnusableServiceError(
            f"{module_name} is not the name of a module; write it as in an import, such as {parts}"
        )
    try:
        module = importlib.import_module(module_name)
        return module, name, getattr(module, name, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a vendor's or the owner's module may raise anything
        raise _import_error(module_name, error) from error


def _modules_in(package: ModuleType) -> tuple[str, ...]:
    """Return the names of the modules in a package; none if it is a module."""
    paths = getattr(package, "__path__", ())
    return tuple(item.name for item in pkgutil.iter_modules(paths, f"{package.__name__}."))


def _stage_of(item: object) -> str:
    """Return the stage that a class of services belongs to; empty if it is no service."""
    if not inspect.isclass(item) or item in BASES.values():
        return ""
    return next((stage for stage, base in BASES.items() if issubclass(item, base)), "")


def _hears_itself(model: Any) -> bool:
    """Return whether a model takes the caller's speech: only such models override this method."""
    return model.service_metadata_frame is not LLMService.service_metadata_frame


def _import_error(module: str, error: BaseException) -> UnusableServiceError:
    """Return why an import failed: there is no such module, it lacks a package, or it raises."""
    missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    if missing and f"{module}.".startswith(f"{missing}."):
        package = missing.rpartition(".")[0]
        text = f"there is no module {missing}"
        if not package:
            return UnusableServiceError(f"{text} in the folder of the configuration, or installed")
        found = importlib.import_module(package)
        if not hasattr(found, "__path__"):
            text = f"{text}; {package} is a module itself: write {package}:Class"
            return UnusableServiceError(text)
        return UnusableServiceError(text, word=missing, known=_modules_in(found))
    reason = f"{type(error).__name__}: {error_text(error)}"
    _, lacks, package = reason.partition("No module named ")
    if not module.startswith(SERVICES):
        return UnusableServiceError(f"it cannot be imported: {reason}")
    extra = extra_of(module)  # a part of it may be installed, or an older version
    cure = f"; {install_command(f'pipecat-ai[{extra}]')}" if extra else ""
    absent = f"it needs {package.strip(chr(39))}, which is not installed"
    return UnusableServiceError(f"{absent if lacks else f'it cannot be imported: {reason}'}{cure}")


def extra_of(module: str) -> str:
    """Return the extra of `pipecat-ai` that a module of its services needs; empty if unknown."""
    extras = metadata("pipecat-ai").get_all("Provides-Extra") or ()
    parts = [part.replace("_", "-") for part in module.split(".")[2:-1]]
    names = ["-".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((name for name in (*names, *reversed(parts)) if name in extras), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceClass:
    """What the constructor of a service takes.

    Attributes:
        parameters: The parameters that can be given, its own before those of base classes.
        settings_class: Its `Settings` or `InputParams`; `None` if it takes neither.
        settings_in: The parameter that takes them; empty if there is none.
        settings: The types of the settings, by name.
        places: The setting or parameter that takes a value of `PLACES`, by value; empty if none.
    """

    name: str
    parameters: Mapping[str, inspect.Parameter]
    settings_class: type | None
    settings_in: str
    settings: Mapping[str, Any]
    places: Mapping[str, str]

    @property
    def older(self) -> list[str]:
        """The parameters that once took the settings, and are ignored beside `settings`."""
        is_newer = self.settings_in == "settings"
        return [name for name in OLDER if is_newer and name in self.parameters]

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the parameters, as far as they are known."""
        return {name: parameter.annotation for name, parameter in self.parameters.items()}

    def needs(self, name: str) -> bool:
        """Return whether a parameter must be given."""
        parameter = self.parameters.get(name)
        return parameter is not None and parameter.default is inspect.Parameter.empty


@cache
def describe(cls: type) -> ServiceClass:
    """Return what the constructor of a class takes, and where it takes keys, URLs and the like."""
    parameters = dict(_constructor_parameters(cls))
    pairs = (("settings", "Settings"), ("params", "InputParams"))
    given = [(name, own) for name, own in pairs if name in parameters and hasattr(cls, own)]
    settings_in, own = given[0] if given else ("", "")
    settings_class = getattr(cls, own) if own else None
    settings = dict(fields_of(settings_class)) if settings_class else {}
    settings.pop("extra", None)
    places: dict[str, str] = {}
    for value, names in PLACES.items():
        as_settings = [name for name in names.get("settings", ()) if name in settings]
        as_parameters = [name for name in parameters if name in names["parameters"]]
        places[value] = next(iter((*as_settings, *as_parameters)), "")
    return ServiceClass(
        name=cls.__name__,
        parameters=parameters,
        settings_class=settings_class,
        settings_in=settings_in,
        settings=settings,
        places=places,
    )


def _constructor_parameters(cls: type) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the parameters that a constructor takes, those of its base classes included."""
    seen: set[str] = set()
    for owner in (item for item in cls.__mro__ if "__init__" in vars(item)):
        own = list(inspect.signature(owner.__init__).parameters.values())[1:]
        for parameter in own:
            if parameter.name not in seen and "VAR" not in parameter.kind.name:
                seen.add(parameter.name)
                hint = resolved(parameter.annotation, owner.__module__)
                yield parameter.name, parameter.replace(annotation=hint)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            return
        seen |= _keywords_passed_up(owner)


def _keywords_passed_up(owner: type) -> set[str]:
    """Return the keywords that a constructor itself gives to its base class; callers must not.

    None are known if its source is not available.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner.__init__)))
    except (OSError, TypeError, SyntaxError):  # its source is not available
        return set()
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    inner = [call for call in calls if getattr(call.func, "attr", "") == "__init__"]
    return {keyword.arg for call in inner for keyword in call.keywords if keyword.arg}


def arguments(service: ServiceClass, rung: RungSpec) -> dict[str, Any]:
    """Return the arguments that build a service for a rung, each under its own parameter's name.

    What the rung's `init` and `options` state goes first. A value that the service takes nowhere is
    left out. Pipecat's services read a language as a `Language`, or else as the vendor's own code.
    """
    default = getattr(service.parameters.get(service.places["url"]), "default", "")
    has_no_scheme = isinstance(default, str) and default and "://" not in default
    values = {
        "key": rung.api_key,
        "url": rung.url.partition("://")[2] if has_no_scheme else rung.url,
        "rate_hz": rung.rate_hz or rung.sample_rate_hz,
        "model": rung.model,
        "voice": rung.voice,
        "language": None if rung.language == "multi" else _language_or_code(rung.language),
        "instructions": rung.instructions,
    }
    given, settings = dict[str, Any](), dict[str, Any]()
    for value in (value for value in values if values[value] and service.places[value]):
        name = service.places[value]
        is_setting = name in service.settings and name in PLACES[value].get("settings", ())
        (settings if is_setting else given)[name] = values[value]
    for name, stated in rung.options.items():
        settings[name] = _as_wanted_class(service.settings.get(name), stated)
    for name, stated in rung.init.items():
        given[name] = _as_wanted_class(service.hints.get(name), stated)
    if service.settings_class and settings:
        given[service.settings_in] = service.settings_class(**settings)
    return given


def _language_or_code(tag: str) -> str:
    """Return a tag as Pipecat's `Language`; the tag itself if Pipecat does not know it."""
    try:
        return Language(tag)
    except ValueError:
        return tag


def _as_wanted_class(hint: Any, value: Any) -> Any:
    """Return a mapping as the class that the service takes in its place, if it takes one."""
    cls: Any = class_for_mapping(hint) if isinstance(value, dict) else None
    return cls(**value) if cls else value
