"""Models by name: `@register("name")`, `create("name", num_classes=10, ...)`, `list_models()`.

An installed package adds its own through the entry-point group `gatebench.models`: a name, and a class or function of the
number of classes, which is loaded when somebody asks for the name.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pydantic
from torch import nn

from ..errors import GatebenchError, UsageError, explain, first_line, unknown
from ..recipe import Model


@dataclass(frozen=True)
class Entry:
    """A registered model: what builds it and where its recipes are."""

    factory: Callable[..., nn.Module]
    family: str
    """Folder of `gatebench/recipes/` that holds the model's recipes."""
    default: str
    """The recipe that stands for the model where none is named."""
    preset: dict
    """Options that the name itself decides (resnet20: depth = 20)."""

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The factory's, by name."""
        try:
            signature = inspect.signature(self.factory, eval_str=True)
        except NameError:  # types that only a type checker imports
            signature = inspect.signature(self.factory)
        unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {name: each for name, each in signature.parameters.items() if each.kind not in unnamed}

    @property
    def classes(self) -> str | None:
        """The parameter that takes the number of classes: the first, where none is called `num_classes`, as with a factory in a file."""
        return "num_classes" if "num_classes" in self.parameters else next(iter(self.parameters), None)

    def options(self) -> type[pydantic.BaseModel]:
        """What a recipe may set: the factory's other keyword parameters, with their types and defaults."""
        given = {self.classes, "input_shape", *self.preset}
        missing = inspect.Parameter.empty  # a factory from elsewhere need not say types; without a default an option is required
        fields = {
            name: (
                Any if parameter.annotation is missing or isinstance(parameter.annotation, str) else parameter.annotation,
                ... if parameter.default is missing else parameter.default,
            )
            for name, parameter in self.parameters.items()
            if name not in given
        }
        allowed = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
        return pydantic.create_model("Options", __config__=allowed, **fields)


_entries: dict[str, Entry] = {}


def register(name: str, *, family: str | None = None, default: str = "default", **preset):
    """Register a model class, or a function that returns a model, under `name` (see `Entry` for the rest)."""

    def decorate(factory):
        _entries[name] = Entry(factory, family or name, default, preset)
        return factory

    return decorate


def entry(name: str) -> Entry:
    """The registry's entry. Raises UsageError with the nearest name for an unknown one, GatebenchError for one that cannot be loaded."""
    if name not in _entries:
        if name not in _installed():
            raise unknown("model", name, list_models())
        try:
            factory = _installed()[name].load()
        except Exception as error:
            raise GatebenchError(f"{_where(name)} raised {type(error).__name__} when it was imported: {first_line(error)}.") from error
        if not callable(factory):
            raise GatebenchError(f"{_where(name)} is a {type(factory).__name__}, not a class or function that makes a network.")
        register(name)(factory)
    return _entries[name]


def resolve(model: Model) -> Model:
    """A recipe's model with every option spelled out. Raises UsageError naming a wrong option, value, and the nearest match."""
    schema = entry(model.name).options()
    try:
        return Model(name=model.name, **schema(**model.options).model_dump(mode="json"))
    except pydantic.ValidationError as error:
        raise explain(error, schema, f"the options of {model.name}", "model.") from None


def create(name: str, num_classes: int = 10, input_shape: tuple[int, int, int] = (3, 32, 32), **options) -> nn.Module:
    """A new model with random weights (torch's global generator); gatebench's own are all `GatedModel`s.

    `input_shape` is channels, height, width; a factory that has no such parameter does without. Raises UsageError for an unknown
    model or option and for a value the model refuses.
    """
    found = entry(name)
    schema = found.options()
    try:
        options = dict(schema(**options))
        given = {found.classes: num_classes, "input_shape": tuple(input_shape)}
        model = found.factory(**{key: value for key, value in given.items() if key in found.parameters}, **found.preset, **options)
    except pydantic.ValidationError as error:
        raise explain(error, schema, f"the options of {name}") from None
    except ValueError as error:
        raise UsageError(f"Model {name}: {str(error).rstrip('.')}.") from error
    except Exception as error:
        if name not in _installed():
            raise
        raise GatebenchError(f"{_where(name)} raised {type(error).__name__}: {first_line(error)}.") from error
    if not isinstance(model, nn.Module):
        raise GatebenchError(f"{_where(name)} gave a {type(model).__name__}, not a torch.nn.Module.")
    return model


def list_models() -> list[str]:
    """The registered names, in the order of registration, then those that installed packages add."""
    return list(dict.fromkeys([*_entries, *_installed()]))


def _where(name: str) -> str:
    """A package's network, in a sentence."""
    return f"{_installed()[name].value} (entry point gatebench.models: {name})"


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="gatebench.models")}
