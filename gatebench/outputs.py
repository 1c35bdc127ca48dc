"""What a run's parents answer on the parts of its data, computed once, and the batches that carry it.

Shapes: N images, P networks, C classes.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from .assignment import Run, describe_data, load_data, pool_of
from .contract import GatedModel
from .data.batches import Batches
from .data.images import Dataset, Images
from .data.settings import Data
from .device import choose_device, set_threads
from .evaluation.outcome import answers
from .models import registry
from .plan import Job
from .recipe import Recipe
from .trained import create, load_run
from .training.view import View

EVALUATION_BATCH = 250
POOL_IS_SHARED = "Wait for it, then give the command again: runs of the same experts share this folder"


class Outputs:
    """What a run's parents answer on the parts of its data, where that can stand for running them; kept in their pool."""

    def __init__(self, run: Run, model: GatedModel, networks: Callable[[], Mapping[str, GatedModel]], view: View):
        """`networks` gives the trained networks of the parents, by role, where one has to be run."""
        self.job, self.networks, self.view = run.job, networks, view
        self.pool = pool_of(run.inside, run.job, run.folder.path.parent) if model.replays else None

    def of(self, part: str, images: Images) -> torch.Tensor | None:
        """Logits [N, P, C] on the images of a part; None for a model that runs its parents itself."""
        if self.pool is None:
            return None

        def run_parent(role: str) -> np.ndarray:
            network, device = self.networks()[role], choose_device(self.job.device)
            with self.view.counting(f"{role} on the {part} part", len(images), "image") as done:
                return answers(network, scoring_batches(network, images, device), self.job.precision, done)

        if self.pool.has(part):
            return torch.from_numpy(self.pool.outputs(part, images, run_parent))
        with self.pool.folder.locked(POOL_IS_SHARED):
            return torch.from_numpy(self.pool.outputs(part, images, run_parent))


def answer(run: Run, view: View) -> None:
    """Run the parents of a run on the parts of its data where `lacks_answers` misses something; kept in their pool."""
    device = choose_device(run.job.device)
    set_threads(run.job.threads)
    networks = load_parents(run, device)
    model = create(run.job.parsed, describe_data(run.job), {role: networks[role] for role in run.inside})
    outputs = Outputs(run, model, lambda: networks, view)
    for part, images in _answered(run.job).items():
        outputs.of(part, images)


def lacks_answers(run: Run) -> bool:
    """Whether outputs of a run's parents that can stand for running them have still to be computed."""
    if not run.inside or not registry.entry(run.job.parsed.model.name).replays:
        return False
    pool = pool_of(run.inside, run.job, run.folder.path.parent)
    return not all(pool.has(part) for part in _answered(run.job))


def _answered(job: Job) -> dict[str, Images]:
    """The parts of the data whose images are the same every time: what a run is trained, chosen and scored on."""
    recipe, dataset = job.parsed, load_data(job)
    parts = {dataset.scored: dataset.test}
    if recipe.study and dataset.validation:
        parts["validation"] = dataset.validation
    if _fixed(recipe.data):
        parts["train"] = dataset.train
    return parts


def _fixed(data: Data) -> bool:
    """Whether every epoch has the same training images."""
    return data.augment == "none" and data.training_severity != "random"


def load_parents(run: Run, device: torch.device) -> dict[str, GatedModel]:
    """The trained networks of a run's parents, frozen."""
    return {role: load_run(each.folder)[0].to(device).eval().requires_grad_(False) for role, each in run.parents.items()}


def scoring_batches(model: GatedModel, images: Images, device: torch.device, outputs: np.ndarray | None = None) -> Batches:
    """A part of the data as the network is scored on it; `outputs` [N, P, C] are its parents' on these images."""
    return Batches(images, model.prepare.mean, model.prepare.std, batch_size=EVALUATION_BATCH, device=device, outputs=outputs)


def training_batches(model: GatedModel, recipe: Recipe, dataset: Dataset, device: torch.device, outputs: Outputs) -> Batches:
    crop, rand = recipe.data.augment != "none", recipe.data.augment == "rand-augment"
    random = recipe.data.training_severity == "random"
    return Batches(
        dataset.train, model.prepare.mean, model.prepare.std, batch_size=recipe.training.batch_size, device=device,
        crop=crop, flip=crop and dataset.mirrors, rand=rand, corruptions=tuple(recipe.data.severities.values()) if random else (),
        outputs=outputs.of("train", dataset.train) if _fixed(recipe.data) else None,
    )  # fmt: skip
