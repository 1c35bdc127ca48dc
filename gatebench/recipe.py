"""Recipes: what to train, on what, how; validated, changed, resolved, hashed.

A recipe is composed of settings that components below declare: data, training, and the losses and study of the model. Nothing here
imports torch.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
)

from .components import check_roles, losses_of, study_of
from .data.settings import Data, storable
from .errors import UsageError, explain, nearest, quoted
from .library import available, content_of, find, read_content
from .losses import CrossEntropy, Loss
from .models import registry
from .overrides import LONGEST_CHANGE, MOST_CHANGES, overridden, parsed, shown
from .settings import MOST_EPOCHS, Part, each_once, scaled, unset
from .studies import Study
from .training.settings import Training

RENAMED = {"objective": "losses", "evaluation": "study", "parent": "parents: {weights: {config: NAME}}"}
"""Keys of recipes of the first layout, and what stands for them now."""


class Model(BaseModel):
    """A registered model and its options, which the model itself validates."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra)


class Parent(Part):
    """A run that is made first, and that this one starts from or contains."""

    model: str | None = None
    """None: the model of the recipe itself, which then shares its options, study and data with the parent."""
    config: str
    """Name of a recipe of that model."""
    changes: tuple[str, ...] = ()
    """KEY=VALUE, as --set."""
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None
    """None: its recipe's, scaled as the child's are."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    """None: the child's."""


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Recipe(Part):
    """Everything that decides a run's numbers, but for seed, device and threads."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    source: str = ""
    model: Model
    data: Data = Data()
    losses: dict[str, SerializeAsAny[Loss]] = {"cross_entropy": CrossEntropy()}
    """By kind, those of `losses.py` and of the model's family; their sum is minimised. Kept as parsed by `parse`."""
    training: Training = Training()
    study: SerializeAsAny[Study] | None = Field(None, exclude_if=unset)
    """What is chosen once the network is trained."""
    parents: dict[str, Parent] = Field({}, exclude_if=unset)
    """By role. `weights` is the run that this one starts from; other roles are for the model and its losses."""
    fallback: str = Field("", exclude_if=unset)
    """Recipe of the same model that is taken instead where the data set cannot be had."""
    baseline: Annotated[tuple[str, ...], BeforeValidator(_one_as_list), AfterValidator(each_once)] = Field((), exclude_if=unset)
    """Recipe of the same model that this one is to beat, or several; reports set it beside each, seed by seed."""
    tradeoff: str | None = Field(None, exclude_if=unset)
    """Path of the setting that trades accuracy against cost, such as losses.budget.weight: a number, or a list for the study."""
    changes: Annotated[list[Annotated[str, Field(max_length=LONGEST_CHANGE)]], Field(max_length=MOST_CHANGES)] = []
    """What --set and --dataset changed of the named recipe."""
    scaled_from_epochs: PositiveInt | None = None
    """Set where the run is shorter or longer than its recipe: the recipe's own number of epochs."""

    def with_epochs(self, epochs: int) -> "Recipe":
        """The recipe on another number of epochs: every setting counted in epochs scales along, and the origin is kept."""
        own = self.training.epochs
        if epochs == own or own == 0:  # what is not trained by epochs stays so
            return self
        changed = scaled(self, epochs / own)
        training = changed.training.model_copy(update={"epochs": epochs})
        return changed.model_copy(update={"training": training, "scaled_from_epochs": self.scaled_from_epochs or own})

    @property
    def measured(self) -> str | None:
        """Option of the model that is still to be filled with the measured times of the parents; None: nothing is."""
        name = registry.entry(self.model.name).measured
        return name if name and self.resolved().model.options[name] == "measured" else None

    def with_times(self, milliseconds: Iterable[float]) -> "Recipe":
        """The recipe with the measured times of its parents filled in."""
        model = Model(name=self.model.name, **{**self.model.options, self.measured: list(milliseconds)})
        return self.model_copy(update={"model": model})

    def with_dataset(self, name: str) -> "Recipe":
        """The recipe on another data set. Raises UsageError for a name that is too long, or not UTF-8."""
        if name == self.data.name:
            return self
        name = storable(name)
        data = self.data.model_copy(update={"name": name})
        return self.model_copy(update={"data": data, "changes": [*self.changes, f"data.name={name}"]})

    def resolved(self) -> "Recipe":
        """The recipe with every option of its model spelled out. Raises UsageError for a wrong one."""
        try:
            options = registry.resolve(self.model.name, self.model.options)
        except UsageError as error:
            raise (_of_another_kind(self) or error) from None
        return self.model_copy(update={"model": Model(name=self.model.name, **options)})

    def tradeoff_value(self) -> float | None:
        """The value of the setting that `tradeoff` names; None where that is a list, or no setting is named."""
        value = self.tradeoff_setting()
        return None if value is None or isinstance(value, list) else float(value)

    def tradeoff_setting(self, where: str = "") -> float | list[float] | None:
        """The number or numbers that `tradeoff` names; None where none is named, or the recipe's study was left out.

        Raises UsageError where there is no such setting, or it holds no numbers; `where` is what it blames, if not the recipe.
        """
        where = where or f"recipe {self.name}"
        if self.tradeoff is None:
            return None
        value: Any = self
        for part in self.tradeoff.split("."):
            if part == "study" and self.study is None:
                return None
            settings = dict(value) if isinstance(value, (dict, BaseModel)) else {}
            if part not in settings:
                close = nearest(part, settings)
                raise UsageError(f"In {where}: tradeoff: there is no setting {quoted(self.tradeoff)}.{close}")
            value = settings[part]
        value = list(value) if isinstance(value, tuple) else value
        if not _are_numbers(value):
            said = f"{self.tradeoff} = {quoted(value)} is neither a number nor a list of numbers"
            raise UsageError(f"In {where}: tradeoff: {said}.")
        return value

    def content(self) -> dict:
        """As plain data; `parse` reads it back."""
        content = self.model_dump(mode="json")
        if self.study:
            content["study"] = {"kind": self.study.kind, **content["study"]}
        return content

    def dump(self) -> str:
        """As YAML."""
        return yaml.safe_dump(self.content(), sort_keys=False)

    def digest(self, **others: Any) -> str:
        """Eight hexadecimal digits of what decides the weights: the recipe without its name and study, and `others` (data, parents ...)."""
        left_out = ("name", "source", "fallback", "baseline", "tradeoff", "changes", "study", "parents")
        content = {key: value for key, value in self.content().items() if key not in left_out}
        content["data"].pop("name")  # one set under several paths is one set; `others` holds its digest
        return hashlib.sha256(json.dumps([content, others], sort_keys=True).encode()).hexdigest()[:8]


def load(family: str, model: str, config: str, overrides: list[str] | None = None) -> Recipe:
    """The family's recipe named `config`, or the one in the file of that name, with `a.b=c` overrides.

    `model` is the name the user typed; a family's recipe serves every size of it. Raises UsageError for an unknown recipe,
    unreadable YAML, and a wrong key or value, naming the nearest match.
    """
    content, where = find(family, config)
    content = {**content, "model": content.get("model", {})}
    if isinstance(content["model"], dict) and content["model"].setdefault("name", model) != model:
        raise UsageError(f"{where} is for model {quoted(content['model']['name'])}, not {model!r}: train that one, or name another recipe.")
    return _with_overrides(content, overrides or [], where)


def read(path: Path) -> Recipe:
    """A resolved recipe, as a run folder holds it. Raises UsageError where it is none."""
    return parse(read_content(path, "Put the run's own back, or train into another folder with --fresh"), str(path))


def parse(content: dict, where: str) -> Recipe:
    """Validate a recipe's content. Raises UsageError naming the key, the value, what is allowed and the nearest match.

    Which losses and which study there are is for the model to say.
    """
    for old, new in RENAMED.items():
        if old in content:
            raise UsageError(
                f"In {where}: {old!r} is now {new!r}; CHANGELOG.md lists what was renamed. benchmarks/convert_results.py carries old run"
                " folders over."
            )
    model = content.get("model")
    if isinstance(model, dict) and isinstance(model.get("name"), str):
        declared = registry.entry(model["name"])
        content = {**content, "losses": losses_of(content.get("losses"), declared, where)}
        content["study"] = study_of(content.get("study"), declared, where)
        check_roles(content.get("parents"), declared, content["losses"], where)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise explain(error, Recipe, where) from None
    recipe.tradeoff_setting(where)
    return recipe


def _are_numbers(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in numbers)


def changed(recipe: Recipe, overrides: Iterable[str], option: str = "--set") -> Recipe:
    """The recipe with `a.b=c` overrides, which an option gave. Raises UsageError as `load`."""
    return _with_overrides(recipe.content(), list(overrides), f"recipe {recipe.name}", option)


def _with_overrides(content: dict, overrides: Sequence[str], where: str, option: str = "--set") -> Recipe:
    """The recipe of that content, changed, with what was changed of it. Raises UsageError that blames the override at fault, if one is,
    and where there are more changes than a row holds."""
    recipe, changes = parsed(content, overrides, parse, where, option)
    changes = [*recipe.changes, *changes]
    if len(changes) > MOST_CHANGES:
        raise UsageError(f"{len(changes)} changes of recipe {recipe.name} are more than {MOST_CHANGES}. Write them into a recipe's file.")
    return recipe.model_copy(update={"changes": changes})


def _of_another_kind(recipe: Recipe) -> UsageError | None:
    """What is wrong where --set of a kind, such as a gate's, left the other settings of its group, which are of the kind before."""
    family = registry.entry(recipe.model.name).recipes
    for change in recipe.changes:
        key = change.partition("=")[0]
        group = key.removesuffix(".kind")
        if group == key or not group.startswith("model."):
            continue
        own = [each for each in recipe.changes if each.startswith(f"{group}.")]
        content, _ = overridden(recipe.content(), [f"{group}={{}}", *own])
        try:
            registry.resolve(recipe.model.name, Model(**content["model"]).options)
        except UsageError as error:  # what was set is wrong by itself
            return error
        others = [name for _, name in available(family) if _at(content_of(family, name), key) == _at(content, key)]
        mend = f"take a recipe of that kind with --config {' or '.join(others)}" if others else f"empty it first with --set {group}={{}}"
        return UsageError(f"--set {shown(change)}: the other settings of {group} in recipe {recipe.name} are of another kind; {mend}.")
    return None


def _at(content: Any, path: str) -> Any:
    """The value at a.b.c; None where there is none."""
    for part in path.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content
