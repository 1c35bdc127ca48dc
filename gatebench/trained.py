"""Networks of runs: built from a recipe, and loaded back from a run folder."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

from .contract import GatedModel, Prepare, mismatch
from .errors import GatebenchError, UsageError, first_line, needs_memory
from .foreign import Missing, Unreadable, read_bytes, size_of
from .models import registry
from .recipe import Recipe, read
from .runs import RunFolder
from .training.loop import check_freeze

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


def create(recipe: Recipe, described: Mapping | None = None, parents: Mapping[str, nn.Module] | None = None) -> GatedModel:
    """The recipe's model with random weights, for a data set where it is described (`Dataset.describe`).

    Raises UsageError for what does not fit together: every component is asked about its own settings.
    """
    sized = {"num_classes": len(described["classes"]), "input_shape": tuple(described["input_shape"])} if described else {}
    model = registry.create(recipe.model.name, **sized, parents=parents, **recipe.resolved().model.options)
    if not isinstance(model, GatedModel):
        raise UsageError(
            f"{recipe.model.name} is no GatedModel (gatebench.contract): profile-latency can time it, train cannot train it."
        )
    if described and model.prepare is None:
        model.prepare = prepare(described)
    if recipe.training.epochs and not model.trainable:
        raise UsageError(f"training.epochs: gradients cannot train this {recipe.model.name}; its recipe needs training: {{epochs: 0}}.")
    check_freeze(recipe.training.freeze, model)
    for loss in recipe.losses.values():
        loss.check(model)
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
    if not folder.has("model.safetensors"):
        raise GatebenchError(f"{folder.path} has no model.safetensors: its weights were not kept. Train it again to profile it.")
    parents = {role: load_run(parent, above=(*above, name))[0] for role, parent in contained(folder).items()}
    model = registry.create(
        recipe.model.name, len(described["classes"]), tuple(described["input_shape"]), parents, **recipe.model.options
    )
    policy = model.policy
    model.begin_epoch(1.0)
    fill(model, folder / "model.safetensors", "Put back those of this run, or train it again")
    if not chosen and policy is not None:
        model.policy = policy
    if model.prepare is None:  # weights written before it was kept with them
        model.prepare = prepare(described)
    return model, recipe, described


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
    """Give a model the weights of a .safetensors file, or of a torch file with a state_dict.

    Raises UsageError where there is no such file, GatebenchError where they are not the model's; `mend` says what to do then.
    """
    state, prepare = read_weights(path)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise GatebenchError(f"{path} holds the weights of another network: {mismatch(model, state, error)}. {mend}.") from None
    if prepare and isinstance(model, GatedModel):
        model.prepare = _prepare(path, prepare)


def start_from(model: GatedModel, path: Path) -> None:
    """Let a model start from the weights of a file, such as a library's pretrained ones. Raises as `fill`."""
    try:
        model.start_from(read_weights(path)[0])
    except ValueError as error:
        raise GatebenchError(f"{path} holds the weights of another network: {error}. Name the weights that belong to it.") from None


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], str | None]:
    """The tensors of a .safetensors or torch file by name, and the preparation that was kept with them. Raises as `fill`."""
    try:
        size_of(path)
        with needs_memory(f"the weights in {path}", "Give smaller ones, or end other programs"):
            if path.suffix == ".safetensors":
                with safe_open(path, "pt") as stream:
                    tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
                    return tensors, (stream.metadata() or {}).get("prepare")
            return torch.load(path, map_location="cpu", weights_only=True), None
    except Missing:
        raise UsageError(f"There are no weights at {path}.") from None
    except Unreadable as error:
        raise GatebenchError(f"The weights at {path} cannot be read: {error}. Name a file of weights.") from None
    except GatebenchError:
        raise
    except Exception as error:  # whatever safetensors, zipfile and pickle make of a file that is none of theirs
        wanted = "Give .safetensors, or what torch.save(model.state_dict(), ...) writes"
        raise GatebenchError(f"{path} is not a file of weights that can be read ({type(error).__name__}). {wanted}.") from None


@functools.cache
def file_digest(path: Path) -> str:
    """Eight hexadecimal digits of a file's SHA-256. Raises UsageError where there is none."""
    try:
        return hashlib.sha256(read_bytes(path, size_of(path))).hexdigest()[:8]
    except Unreadable as error:
        raise UsageError(f"Cannot read the weights at {path}: {error}. Name a file of weights.") from None


def _prepare(path: Path, text: str) -> Prepare:
    """The preparation that a file of weights holds."""
    try:
        content = json.loads(text)
        return Prepare(*(tuple(content[name]) for name in ("size", "mean", "std")))
    except (ValueError, KeyError, TypeError) as error:
        raise GatebenchError(f"{path} holds a damaged preparation ({first_line(error)}). Train again, or name other weights.") from None
