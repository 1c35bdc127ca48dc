"""Networks of runs: built from a recipe, and loaded back from a run folder."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field
from safetensors.torch import save as to_safetensors
from torch import nn

from .contract import GatedModel, Prepare
from .errors import GatebenchError, UsageError, first_line
from .models import registry
from .recipe import Recipe, read
from .runs import RunFolder
from .training.loop import check_freeze
from .weights.files import read_weights
from .weights.fit import load_into
from .weights.readings import Unusable
from .weights.take import take

LARGEST_SIDE = 16_384
"""Channels, rows or columns of an input."""
DESCRIBED = {
    "classes": list[str],
    "input_shape": Annotated[list[Annotated[int, Field(ge=1, le=LARGEST_SIDE)]], Field(min_length=3, max_length=3)],
    "fingerprint": str,
    "mean": list[float],
    "std": list[float],
}
"""What of data.json a network is built with."""
WEIGHTS = "weights"
"""The role of the parent whose weights a run starts from; others are contained in it, or teach it."""
BELONGING = "Name the weights that belong to it"


def create(recipe: Recipe, described: Mapping | None = None, parents: Mapping[str, nn.Module] | None = None) -> GatedModel:
    """The recipe's model with random weights, for a data set where it is described (`Dataset.describe`).

    Raises UsageError for what does not fit together: every component is asked about its own settings.
    """
    sized = {"num_classes": len(described["classes"]), "input_shape": tuple(described["input_shape"])} if described else {}
    model = registry.create(recipe.model.name, **sized, parents=parents, **recipe.resolved().model.options)
    if not isinstance(model, GatedModel):
        raise UsageError(f"{recipe.model.name} is no GatedModel (gatebench.contract): profile-latency can time it, train cannot train it.")
    if described and model.prepare is None:
        model.prepare = prepare(described)
    if recipe.training.epochs and not model.trainable:
        raise UsageError(f"training.epochs: gradients cannot train this {recipe.model.name}; its recipe needs training: {{epochs: 0}}.")
    check_freeze(recipe.training.freeze, model)
    for loss in recipe.losses.values():
        loss.check(model)
        for kind in loss.rules_out.keys() & recipe.losses.keys():
            raise UsageError(f"losses.{kind}: {loss.rules_out[kind]}.")
    if recipe.study:
        recipe.study.check(model, recipe.data, sized=described is not None)
    return model


def prepare(described: Mapping) -> Prepare:
    """What a network for a data set does to its images: their own statistics."""
    return Prepare(tuple(described["input_shape"][1:]), tuple(described["mean"]), tuple(described["std"]))


def load_run(folder: RunFolder, chosen: bool = True, above: tuple[str, ...] = ()) -> tuple[GatedModel, Recipe, dict]:
    """The trained network of a run on the CPU, its recipe and what data.json says.

    Without `chosen` it has its recipe's policy, and not the one that was chosen after training. `above` are the names of runs that
    contain it. Raises GatebenchError where its weights are gone or another network's, and where a run that it contains is gone.
    """
    name = folder.path.name
    if name in above:
        raise GatebenchError(f"{folder.path} contains itself: identity.json names {' in '.join((name, *reversed(above)))}. Train it again.")
    recipe = read(folder / "recipe.yaml")
    described = folder.read_json("data.json", **DESCRIBED)
    check_weights(folder, "profile")
    parents = {role: load_run(parent, above=(*above, name))[0] for role, parent in contained(folder).items()}
    model = registry.create(recipe.model.name, len(described["classes"]), tuple(described["input_shape"]), parents, **recipe.model.options)
    policy = model.policy
    model.begin_epoch(1.0)
    fill(model, folder / "model.safetensors", "Put back those of this run, or train it again")
    if not chosen and policy is not None:
        model.policy = policy
    if model.prepare is None:  # weights written before it was kept with them
        model.prepare = prepare(described)
    return model, recipe, described


def check_weights(folder: RunFolder, to: str) -> None:
    """Raises GatebenchError where a run has no weights; `to` is what is to be done with them, as a verb."""
    if not folder.has("model.safetensors"):
        raise GatebenchError(f"{folder.path} has no model.safetensors: its weights were not kept. Train it again to {to} it.")


def write_weights(folder: RunFolder, model: GatedModel) -> str:
    """Write model.safetensors, with the network's preparation; returns the first eight hexadecimal digits of its SHA-256."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = to_safetensors(state, {"prepare": json.dumps(asdict(model.prepare))} if model.prepare else None)
    folder.write("model.safetensors", lambda stream: stream.write(content))
    return hashlib.sha256(content).hexdigest()[:8]


def contained(folder: RunFolder) -> dict[str, RunFolder]:
    """The runs whose networks a run's network is made of, by role. They lie beside it.

    A parent that only its training needed, as a teacher, is none of them. Raises GatebenchError where one is gone.
    """
    builds = registry.entry(read(folder / "recipe.yaml").model.name).parameters
    if "parents" not in builds or not folder.has("identity.json"):
        return {}
    named = folder.read_json("identity.json", parents=dict[str, str])["parents"]
    parents = {role: RunFolder(folder.path.parent / Path(name).name) for role, name in named.items() if role != WEIGHTS}
    for role, parent in parents.items():
        if not parent.finished:
            raise GatebenchError(f"{folder.path} contains the run {parent.path.name} ({role}), which is not beside it. Put it back there.")
    return parents


def fill(model: nn.Module, path: Path, mend: str) -> None:
    """Give a model the weights that were written for it, `write_weights`.

    Raises UsageError where there is no such file, GatebenchError where they are not the model's; `mend` says what to do then.
    """
    state, prepare = read_weights(path)
    with _naming(path, mend):
        load_into(model)(state)
    _keep_preparation(model, path, prepare)


def fill_from(model: nn.Module, path: Path) -> list[str]:
    """Give a model weights as people save them. Returns what of the file was taken, left out and converted. Raises as `fill`."""
    content, prepare = read_weights(path)
    with _naming(path, BELONGING):
        said = take(content, model.state_dict(), load_into(model))
    _keep_preparation(model, path, prepare)
    return [f"{path.name}: {sentence}" for sentence in said]


def start_from(model: GatedModel, path: Path) -> list[str]:
    """Let a model start from the weights of a file, such as a library's pretrained ones. Returns and raises as `fill_from`."""
    content = read_weights(path)[0]
    with _naming(path, BELONGING):
        return [f"{path.name}: {sentence}" for sentence in take(content, model.first_weights(), model.start_from)]


@contextlib.contextmanager
def _naming(path: Path, mend: str) -> Iterator[None]:
    """Make of what weights raise that do not fit a GatebenchError that names the file."""
    try:
        yield
    except Unusable as error:
        raise GatebenchError(f"The weights in {path} cannot be taken: {error}.") from None
    except ValueError as error:
        raise GatebenchError(f"{path} holds the weights of another network: {error}. {mend}.") from None


def _keep_preparation(model: nn.Module, path: Path, text: str | None) -> None:
    if text and isinstance(model, GatedModel):
        model.prepare = _prepare(path, text)


def _prepare(path: Path, text: str) -> Prepare:
    """The preparation that a file of weights holds."""
    try:
        content = json.loads(text)
        return Prepare(*(tuple(content[name]) for name in ("size", "mean", "std")))
    except (ValueError, KeyError, TypeError) as error:
        raise GatebenchError(f"{path} holds a damaged preparation ({first_line(error)}). Train again, or name other weights.") from None
