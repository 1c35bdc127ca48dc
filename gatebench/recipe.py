"""Recipes: what to train, on what, how; YAML in `gatebench/recipes/<family>/<name>.yaml`, validated, resolved, hashed.

Nothing here imports torch, so that recipes can be listed and checked at once.
"""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from .errors import UsageError, explain, unknown

LIBRARY = files("gatebench") / "recipes"
REFUSED = {
    "training.epochs": "use --epochs, which scales along everything else that is counted in epochs",
    "model.name": "the model is the command's first argument",
    "data.name": "use --dataset",
    "name": "copy the recipe's file under another name",
    "changes": "gatebench records it itself",
    "scaled_from_epochs": "gatebench records it itself",
}
"""Keys that --set leaves to another option."""
IN_EPOCHS = "in epochs"
"""Marks what is counted in epochs: a run on another number of epochs than its recipe's scales it along."""


def _unused(value: Any) -> bool:
    """Settings of one method stay out of the recipes, and so of the hashes, of the others."""
    return not value


def _each_once(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        raise ValueError("each is to be given once")
    return values


def _several(value: Any) -> Any:
    """One name as a list of one."""
    return [value] if isinstance(value, str) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Model(BaseModel):
    """A registered model and its options, which the model itself validates."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra)


Rule = Literal["max-softmax", "entropy", "margin", "patience"]
"""By which an input leaves a network with exits; see `exit_policy`."""


class Shapes(_Part):
    """Size of the procedural set."""

    classes: int = Field(10, ge=2)
    image_size: int = Field(24, ge=8)
    train: int = Field(8000, ge=2)
    test: int = Field(2000, ge=2)
    seed: NonNegativeInt = 0


class Data(_Part):
    name: str = "cifar10"
    """A name of the catalogue, or the path of a folder of images or of an .npz file."""
    augment: Literal["none", "crop-flip", "rand-augment"] = "none"
    """crop-flip: random crop after zero padding by an eighth of the side (4 pixels at 32), and a random horizontal flip, except of
    digits, whose mirror image is another thing. rand-augment: that, then RandAugment (Cubuk et al., arXiv 1909.13719) and random
    erasing (Zhong et al., arXiv 1708.04896), with torchvision's settings, one draw for eight images of a batch."""
    validation: NonNegativeInt = 0
    """Images carved from train by a fixed seed, on which what `evaluation` asks for is chosen; 0 trains on all of train. A set that
    has such a part of its own gives that one, however many."""
    scored: Literal["test", "validation"] = Field("test", exclude_if=lambda value: value == "test")
    """validation: that part is scored, and test is left alone, as for trying settings out."""
    image_size: PositiveInt | None = None
    """Side to which a folder's images are scaled and cropped; none: they must all be of one size."""
    shapes: Shapes = Shapes()


class Budget(_Part):
    """CosineGate's constraint on the mean gate (Eq. 17-19)."""

    weight: NonNegativeFloat
    target: float = Field(ge=0, le=1)
    """Mean gate above which the penalty sets in."""
    of: Literal["gates", "macs"] = Field("gates", exclude_if=lambda value: value == "gates")
    """The mean over gates, each alike as printed, or each by the MACs that it leaves out."""
    warmup_epochs: Annotated[NonNegativeFloat, IN_EPOCHS] = 0
    """Epochs over which the penalty grows to its full weight."""
    start_epoch: Annotated[NonNegativeFloat, IN_EPOCHS] = Field(0, exclude_if=_unused)
    """Epoch, counted from 0, at which that begins; there is no penalty before."""
    detached: bool = False
    """The released notebook computes the penalty from a plain number: it shows in the loss and moves no gate."""


class ExitLoss(_Part):
    """A cross-entropy at every exit, weighted for each input: lambda_e(epoch) x eligibility + floor, normalised over exits (CGT)."""

    eligibility: Literal["hard", "soft", "residual", "all"] = "all"
    """Which exits an input trains: those before which none was sure and right (hard), or the less the surer the ones before were of
    the truth, through a sigmoid as released (soft) or by the rest of the probability as printed (residual); or all."""
    confidence: float = Field(0.9, gt=0, lt=1)
    """tau of hard and soft."""
    scale: PositiveFloat = 1.0
    """Steepness of soft's sigmoid; at the released 1 it hardly depends on the input."""
    weights: tuple[NonNegativeFloat, ...]
    """lambda of each exit, at the first step where `final_weights` are given."""
    final_weights: tuple[NonNegativeFloat, ...] | None = None
    """What lambda anneals to, linearly."""
    anneal_epochs: Annotated[NonNegativeFloat, IN_EPOCHS] = 0
    floor: NonNegativeFloat = 1e-3


class Objective(_Part):
    """Cross-entropy, of the answer or of every exit, plus a budget on the gates, plus the model's own terms by name -> weight (Eq. 21)."""

    exits: ExitLoss | None = Field(None, exclude_if=_unused)
    label_smoothing: float = Field(0.0, ge=0, lt=1, exclude_if=_unused)
    budget: Budget | None = None
    terms: dict[str, NonNegativeFloat] = {}


class Training(_Part):
    epochs: PositiveInt = 160
    batch_size: int = Field(128, ge=2)
    """At least two: batch norm takes the variance over the batch."""
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 5e-4
    schedule: Literal["cosine", "warm-restarts", "one-cycle", "steps"] = "cosine"
    """Learning rate, stepped every batch. cosine: from the rate to 0. warm-restarts: the same again and again.
    one-cycle: linearly up to the rate in the first fifth, then linearly down to 0. steps: a tenth after each of the milestones."""
    milestones: Annotated[tuple[PositiveFloat, ...], IN_EPOCHS] = Field((), exclude_if=_unused)
    """Epochs of steps."""
    restart_epochs: Annotated[PositiveFloat, IN_EPOCHS] = 50
    """Length of the first cycle of warm-restarts."""
    restart_factor: PositiveInt = 2
    """Every further cycle is so many times as long."""
    clip_gradient: PositiveFloat | None = None
    """Largest norm of the gradient."""
    nesterov: bool = Field(False, exclude_if=_unused)
    freeze: tuple[str, ...] = Field((), exclude_if=_unused)
    """Parts of the model, by name (`segments`, `heads.2`), that are not trained; their batch norm keeps its statistics."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device multiplies it natively, else fp32."""
    compile: bool = False


class ExitChoice(_Part):
    """Exit policies, chosen on the validation part once training is over."""

    budgets: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1), AfterValidator(_each_once)]
    """Shares of the static twin's MACs for which exit thresholds are chosen; the first is that of the headline row. 1: no bound."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1), AfterValidator(_each_once)] = ("max-softmax",)
    """By which inputs leave; the first is the headline's, and the model's own."""
    temperature: bool = False
    """Whether each exit's logits are divided by a temperature, fitted first."""


class Evaluation(_Part):
    """What a trained network leaves open, and how it is chosen."""

    exits: ExitChoice | None = Field(None, exclude_if=_unused)


class Recipe(_Part):
    """Everything that decides a run's numbers, but for seed, device and threads."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    source: str = ""
    model: Model
    data: Data = Data()
    objective: Objective = Objective()
    training: Training = Training()
    evaluation: Evaluation = Field(Evaluation(), exclude_if=lambda value: value == Evaluation())
    parent: str | None = Field(None, exclude_if=_unused)
    """Recipe of the same model whose run is made first, and whose weights this one starts from."""
    baseline: Annotated[tuple[str, ...], BeforeValidator(_several), AfterValidator(_each_once)] = Field((), exclude_if=_unused)
    """Recipe of the same model that this one is to beat, or several; reports set it beside each, seed by seed."""
    changes: list[str] = []
    """What --set and --dataset changed of the named recipe."""
    scaled_from_epochs: PositiveInt | None = None
    """Set where the run is shorter or longer than its recipe: the recipe's own number of epochs."""

    def with_epochs(self, epochs: int) -> "Recipe":
        """The recipe on another number of epochs: every setting counted in epochs scales along, and the origin is kept."""
        own = self.training.epochs
        if epochs == own:
            return self
        scaled = _scaled(self, epochs / own)
        training = scaled.training.model_copy(update={"epochs": epochs})
        return scaled.model_copy(update={"training": training, "scaled_from_epochs": self.scaled_from_epochs or own})

    def with_dataset(self, name: str) -> "Recipe":
        if name == self.data.name:
            return self
        data = self.data.model_copy(update={"name": name})
        return self.model_copy(update={"data": data, "changes": [*self.changes, f"data.name={name}"]})

    def dump(self) -> str:
        """The resolved recipe as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def hash(self, **also: Any) -> str:
        """Eight hexadecimal digits of the resolved recipe and of what else decides the weights; they can be evaluated in many ways."""
        left_out = ("name", "source", "baseline", "changes", "evaluation")
        content = {key: value for key, value in self.model_dump(mode="json").items() if key not in left_out}
        content["data"].pop("name")  # one set under several paths is one set; `also` holds its fingerprint
        return hashlib.sha256(json.dumps([content, also], sort_keys=True).encode()).hexdigest()[:8]


def _scaled(part: BaseModel, factor: float) -> Any:
    """A recipe or a part of one with everything that is counted in epochs times `factor`."""
    changed = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            changed[name] = _scaled(value, factor)
        elif IN_EPOCHS in field.metadata:
            changed[name] = tuple(each * factor for each in value) if isinstance(value, tuple) else value * factor
    return part.model_copy(update=changed)


def available(family: str | None = None) -> list[tuple[str, str]]:
    """(family, recipe name) of every recipe that comes with gatebench, or of one family."""
    return sorted(
        (folder.name, Path(file.name).stem)
        for folder in LIBRARY.iterdir()
        if folder.is_dir() and family in (None, folder.name)
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    )


def source(family: str, name: str) -> str:
    """Where a recipe's settings come from."""
    return _read(LIBRARY / family / f"{name}.yaml").get("source", "")


def load(family: str, model: str, config: str, overrides: list[str] | None = None) -> Recipe:
    """The family's recipe named `config`, or the one in the file of that name, with `a.b=c` overrides.

    `model` is the name the user typed; a family's recipe serves every size of it. Raises UsageError for an unknown recipe,
    unreadable YAML, and a wrong key or value, naming the nearest match.
    """
    if config.endswith((".yaml", ".yml")) or "/" in config:
        path, name, where = Path(config), Path(config).stem, config
    else:
        names = [name for _, name in available(family)]
        if not names:
            raise UsageError(f"There is no recipe of {family}. Write one and name it with --config FILE.yaml.")
        if config not in names:
            raise unknown(f"recipe of {family}", config, names)
        path, name, where = LIBRARY / family / f"{config}.yaml", config, f"recipe {config}"
    content = _read(path)
    content = {"name": name, **content, "model": content.get("model", {})}
    if isinstance(content["model"], dict) and content["model"].setdefault("name", model) != model:
        raise UsageError(f"{where} is for model {content['model']['name']!r}, not {model!r}: train that one, or name another recipe.")
    changes = [change for override in overrides or [] for change in _apply(content, override)]
    recipe = parse(content, where)
    return recipe.model_copy(update={"changes": [*recipe.changes, *changes]})


def read(path: Path) -> Recipe:
    """A resolved recipe, as a run folder holds it. Raises UsageError where it is none."""
    return parse(_read(path), str(path))


def parse(content: dict, where: str) -> Recipe:
    """Validate a recipe's content. Raises UsageError naming the key, the value, what is allowed and the nearest match."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise explain(error, Recipe, where) from None


def _read(path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read recipe {path}: {error.strerror}. Give a recipe's name or an existing YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"Recipe {path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise UsageError(f"Recipe {path} must be a mapping with keys such as `model`, `data`, `training`.")
    return content


def _apply(content: dict, override: str) -> list[str]:
    """Set a nested key from `a.b=c`; the value is read as YAML. Returns what was set, a group of settings one by one."""
    path, separator, value = override.partition("=")
    if not separator or not all(path.split(".")):
        raise UsageError(f"--set wants KEY=VALUE such as training.learning_rate=0.05, not {override!r}.")
    try:
        return [f"{key}={part}" for key, part in _set(content, path, yaml.safe_load(value), value, override)]
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: {value!r} is not a YAML value.") from None


def _set(content: dict, path: str, value: Any, written: str, override: str) -> list[tuple[str, str]]:
    """A group of settings is set one by one, and leaves the group's others as they are. Returns each key, and its value as YAML."""
    if isinstance(value, dict) and value:  # an empty one empties the group
        parts = ((f"{path}.{key}", part) for key, part in value.items())
        return [done for key, part in parts for done in _set(content, key, part, json.dumps(part), override)]
    if path in REFUSED:
        raise UsageError(f"--set {override}: {REFUSED[path]}.")
    *parents, last = path.split(".")
    for part in parents:
        if content.get(part) is None:
            content[part] = {}
        content = content[part]
        if not isinstance(content, dict):
            raise UsageError(f"--set {override}: {part!r} is a value, not a group of settings.")
    content[last] = value
    return [(path, written)]
