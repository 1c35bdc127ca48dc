"""Models by name: `entry("name")` says what there is, `create("name", num_classes=10, ...)` builds it.

Each family package here has a module `family.py` that registers its models without importing torch; the network itself is imported when
somebody builds it. An installed package adds its own through the entry-point group `gatebench.models`: a name, and a class or function
of the number of classes. Where such a model has losses, a study or columns of its own, its module registers it with `@register`.
"""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pydantic

from ..errors import GatebenchError, UsageError, explain, first_line, needs_memory, unknown, with_article
from ..losses import LOSSES, Loss
from ..row import TRADEOFF, Column
from ..settings import computable
from ..studies import Study

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Gating:
    """A way of deciding per input, as the report explains it to people who have never seen it."""

    name: str
    text: str
    """What is left out, and what that saves: two sentences or three."""


@dataclass(frozen=True)
class Entry:
    """A registered model: what builds it, where its recipes are, and what its family declares."""

    name: str
    source: "str | Callable[..., nn.Module]"
    """The factory, or "module:attribute" to import it from."""
    recipes: str
    """Folder of `gatebench/recipes/` that holds the model's recipes."""
    default: str = "default"
    """The recipe that is taken where none is named."""
    preset: Mapping[str, Any] = field(default_factory=dict)
    """Options that the name decides (resnet20: depth = 20)."""
    losses: tuple[type[Loss], ...] = ()
    """Losses of its own."""
    study: type[Study] | None = None
    """What can be chosen once it is trained."""
    parents: tuple[str, ...] = ()
    """Roles of the parent runs that a recipe must name; it may name others."""
    measured: str | None = None
    """Option that is "measured" or a list of numbers: the milliseconds of each parent, one input at a time."""
    replays: bool = False
    """Whether its networks do, as `GatedModel.replays` says: known without building one."""
    pretrained: str | None = None
    """"module:function" that finds the file of weights it starts from: its options, the data root, what to call with a sentence -> path
    or None."""
    columns: tuple[Column, ...] = ()
    """Columns that its rows have besides the common ones."""
    tradeoffs: Mapping[str, Column] = field(default_factory=dict)
    """What its trade-off is, by the setting that a recipe's `tradeoff` names; where it is the same for all, it is one of `columns`."""
    with_times: str | None = None
    """"module:function" of what is known of an operating point once it was timed: run folder, its row, its times -> further columns."""
    pictures: str | None = None
    """"module:function" of what draws its own tables: a run folder -> figures by name."""
    gating: Gating | None = None
    """How it decides, where it does; models that decide alike share one."""

    @cached_property
    def factory(self) -> "Callable[..., nn.Module]":
        return imported(self.source) if isinstance(self.source, str) else self.source

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
        reserved = {self.classes, "input_shape", "parents", *self.preset}
        missing = inspect.Parameter.empty  # a factory from elsewhere need not give types; without a default an option is required
        fields = {
            name: (
                Any if parameter.annotation is missing or isinstance(parameter.annotation, str) else parameter.annotation,
                ... if parameter.default is missing else parameter.default,
            )
            for name, parameter in self.parameters.items()
            if name not in reserved
        }
        allowed = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
        numbers = {"computable": pydantic.field_validator("*")(computable)}
        return pydantic.create_model("Options", __config__=allowed, __validators__=numbers, **fields)

    def columns_of(self, tradeoff: str | None) -> tuple[Column, ...]:
        """Columns of the rows of a recipe, by the setting that its `tradeoff` names: what that is among them."""
        if tradeoff is None or any(column.name == "tradeoff" for column in self.columns):
            return self.columns
        return (self.tradeoffs.get(tradeoff, TRADEOFF), *self.columns)

    def loss_kinds(self) -> dict[str, type[Loss]]:
        """Every loss that it may be trained with, by kind."""
        return {loss.kind: loss for loss in (*LOSSES, *self.losses)}


_entries: dict[str, Entry] = {}


def register(name: str, source: "str | Callable | None" = None, *, recipes: str | None = None, **declared):
    """Register a model under `name`; `declared` are the other fields of `Entry`. Without a source it decorates the factory."""

    def add(factory):
        _entries[name] = Entry(name, factory, recipes or name, **declared)
        return factory

    return add if source is None else add(source)


def entry(name: str) -> Entry:
    """The registry's entry. Raises UsageError with the nearest name for an unknown one, GatebenchError for one that cannot be loaded."""
    _load_families()
    if name not in _entries:
        if name not in _installed():
            raise unknown("model", name, list_models())
        try:
            factory = _installed()[name].load()
        except Exception as error:
            raise GatebenchError(f"{_where(name)} raised {type(error).__name__} when it was imported: {first_line(error)}.") from error
        if not callable(factory):
            raise GatebenchError(f"{_where(name)} is {with_article(type(factory).__name__)}, not a class or function that makes a network.")
        if name not in _entries:  # its module may have registered it, with what it declares
            register(name, factory)
    return _entries[name]


def registered(name: str) -> Entry | None:
    """The entry of a model whose network need not be imported for it; None for all others."""
    _load_families()
    return _entries.get(name)


def gatings() -> list[Gating]:
    """The ways of deciding that models were registered with, each once."""
    _load_families()
    return list(dict.fromkeys(each.gating for each in _entries.values() if each.gating))


def resolve(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A model's options, every one spelled out. Raises UsageError naming a wrong option or value, and the nearest match."""
    schema = entry(name).options()
    try:
        return schema(**options).model_dump(mode="json")
    except pydantic.ValidationError as error:
        raise explain(error, schema, f"the options of {name}", "model.") from None


def create(
    name: str,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    parents: "Mapping[str, nn.Module] | None" = None,
    **options,
) -> "nn.Module":
    """A new model with random weights (torch's global generator); gatebench's own are all `GatedModel`s.

    `input_shape` is channels, height, width; `parents` are the networks of its parent runs by role. A factory that has no such parameter
    does without. Raises UsageError for an unknown model or option and for a value that the model refuses.
    """
    from torch import nn

    registered = entry(name)
    schema = registered.options()
    given = {registered.classes: num_classes, "input_shape": tuple(input_shape), "parents": parents or {}}
    try:
        chosen = dict(schema(**options))
        fitting = {key: value for key, value in given.items() if key in registered.parameters}
        changed = [f"model.{key}" for key, value in chosen.items() if value != schema.model_fields[key].default]
        with needs_memory(" with ".join([f"the network {name}", *filter(None, [", ".join(changed)])]), "Make it smaller"):
            model = registered.factory(**fitting, **registered.preset, **chosen)
    except pydantic.ValidationError as error:
        raise explain(error, schema, f"the options of {name}") from None
    except ValueError as error:
        raise UsageError(f"Model {name}: {str(error).rstrip('.')}.") from error
    except Exception as error:
        if name not in _installed():
            raise
        raise GatebenchError(f"{_where(name)} raised {type(error).__name__}: {first_line(error)}.") from error
    if not isinstance(model, nn.Module):
        raise GatebenchError(f"{_where(name)} gave {with_article(type(model).__name__)}, not a torch.nn.Module.")
    return model


def list_models() -> list[str]:
    """The registered names, in the order of registration, then those that installed packages add."""
    _load_families()
    return list(dict.fromkeys([*_entries, *_installed()]))


def imported(source: str) -> Any:
    """What stands at "module:attribute"."""
    module, _, attribute = source.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _where(name: str) -> str:
    """A package's network, in a sentence."""
    point = _installed().get(name)
    return f"{point.value} (entry point gatebench.models: {name})" if point else name


@cache
def _load_families() -> None:
    """Import `family.py` of every package beside this module."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.ispkg and importlib.util.find_spec(f"{package}.{module.name}.family"):
            importlib.import_module(f"{package}.{module.name}.family")


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="gatebench.models")}
