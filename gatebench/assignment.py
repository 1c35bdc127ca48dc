"""Which run a job is: its identity, its folder, its parents' runs."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .data import reading
from .data.images import Dataset
from .data.settings import Data
from .errors import UsageError
from .measure.machine import conditions
from .models import registry
from .plan import Job
from .pool import Pool
from .pool import digest as pool_digest
from .recipe import read
from .runs import RunFolder, choose_folder
from .trained import WEIGHTS
from .training.view import View
from .untrained import check
from .weights.files import file_digest


@dataclass(frozen=True)
class Place:
    """Where runs are written."""

    out: Path
    fresh: bool = False
    """Start over in a folder of its own, beside whatever is there."""
    take_over: bool = False
    """Go on with another machine's unfinished run."""


@dataclass(frozen=True)
class Run:
    """A job with its identity and its folder."""

    job: Job
    """With everything filled in that was measured for it."""
    digest: str
    """Of all that decides its numbers but seed, device, precision and threads; `digests` says what."""
    folder: RunFolder
    exact: bool
    """Whether it must be evaluated as its recipe says. A parent of which only the weights count is taken as it is."""
    parents: Mapping[str, "Run"]
    """By role."""
    start: Path | None = None
    """File of weights that it starts from."""
    again: str = ""
    """What its folder's name has after that of the first run with this identity, such as "-2": a run that was made again has other
    weights."""

    @property
    def inside(self) -> dict[str, "Run"]:
        """The parents that it is made of, or that teach it: all but the one whose weights it starts from."""
        return _inside(self.parents)

    @property
    def done(self) -> bool:
        """Whether it is finished, and evaluated as its recipe says where that counts."""
        return self.folder.finished and not (self.exact and read(self.folder / "recipe.yaml").study != self.job.parsed.study)

    @property
    def title(self) -> str:
        return f"{self.job.recipe['model']['name']} {self.job.recipe['name']} on {describe_data(self.job)['name']}, seed {self.job.seed}"


class Assignment:
    """The runs of a plan by the keys of their jobs; a run is known once everything is that its identity depends on."""

    def __init__(self, jobs: list[Job], place: Place, view: Callable[[str], View]):
        """`view` makes a view from its title; one says where a run cannot start from the weights that its model wants.

        Raises UsageError or GatebenchError where the network of a run that is not done, its data and its weights do not fit together.
        """
        self.jobs, self.place = jobs, place
        self.say = functools.cache(lambda what: view("pretrained weights").say(what))  # once each
        self.contained = {key for job in jobs for role, key in job.parents.items() if role != WEIGHTS}
        self.conditions = conditions(jobs[0].device, jobs[0].threads)
        self.runs: dict[str, Run] = {}
        for job in jobs:
            self._check_classes(job)
            if set(job.parents.values()) <= self.runs.keys():
                times = self.pool(job).times(self.conditions) if job.parsed.measured else None
                if times or not job.parsed.measured:
                    self.add(job, times)
        left = [job for job in self.needed() if not (job.key in self.runs and self.runs[job.key].done)]
        check((job, describe_data(job), self.runs[job.key].start if job.key in self.runs else job.weights) for job in left)

    def _check_classes(self, job: Job) -> None:
        """Raises UsageError where a network that the job's is made of answers with other classes."""
        classes = describe_data(job)["classes"]
        for role, key in job.parents.items():
            other = describe_data(next(each for each in self.jobs if each.key == key))["classes"]
            if role != WEIGHTS and other != classes:
                counts = f"({len(other)}) than the run itself ({len(classes)})"
                raise UsageError(f"parents.{role} is trained on other classes {counts}. Give both the same data.")

    def add(self, job: Job, times: Sequence[float] | None = None) -> Run:
        """The run of a job whose parents have one; `times` are theirs where its recipe is to be filled with them."""
        filled = replace(job, recipe=job.parsed.with_times(times).content()) if times else job
        parents = self.parents(job)
        start = _start(filled, self.say)
        digest, here = digests(filled, {role: identity(role, each, job) for role, each in parents.items()}, start)
        name = f"{job.recipe['model']['name']}-{job.recipe['name']}-{describe_data(job)['name']}-s{job.seed}-{here}"
        fresh = self.place.fresh and job.wanted
        folder = choose_folder(self.place.out, name, self.conditions.machine, fresh, self.place.take_over)
        again = folder.path.name.removeprefix(name)
        self.runs[job.key] = Run(filled, digest, folder, job.wanted or job.key in self.contained, parents, start, again)
        return self.runs[job.key]

    def needed(self) -> list[Job]:
        """The jobs in order, without parents that no run needs."""
        needed = {job.key for job in self.jobs if job.wanted}
        for job in reversed(self.jobs):
            if job.key in needed and not (job.key in self.runs and self.runs[job.key].folder.finished):
                needed |= set(job.parents.values())
        return [job for job in self.jobs if job.key in needed]

    def parents(self, job: Job) -> dict[str, Run]:
        """By role."""
        return {role: self.runs[key] for role, key in job.parents.items()}

    def pool(self, job: Job) -> Pool:
        """What is kept of the runs that a job's network is made of."""
        return pool_of(_inside(self.parents(job)), job, self.place.out)


def pool_of(inside: Mapping[str, Run], job: Job, out: Path) -> Pool:
    """The pool of these runs on the job's data."""
    described = describe_data(job)
    members = [
        [role, each.digest, each.again, each.job.seed, each.job.device, each.job.precision, each.job.threads]
        for role, each in inside.items()
    ]
    name = pool_digest(members=members, data=described["digest"], device=job.device, precision=job.precision)
    return Pool(RunFolder(out / f"pool-{described['name']}-{name}"), {role: each.folder for role, each in inside.items()}, described)


def load_data(job: Job) -> Dataset:
    """The job's data set; read once for all jobs that share it. Raises as `data.catalogue.load`."""
    return reading.read(Data.model_validate(job.recipe["data"]), Path(job.data_root))


def describe_data(job: Job) -> dict:
    """`Dataset.describe` of the job's data set, which is read only where it was not described before. Raises as `load_data`."""
    return reading.describe(Data.model_validate(job.recipe["data"]), Path(job.data_root))


def digests(job: Job, parents: Mapping[str, list], start: Path | None) -> tuple[str, str]:
    """The identity of a job: of recipe, data, its parents' identities and the weights it starts from; and the same with device,
    precision and threads."""
    ordered = [*map(list, parents.items())] if len(parents) > 1 else dict(parents)  # a router's experts have an order
    recipe, decisive = job.parsed, {"data": describe_data(job)["digest"], "parents": ordered}
    if start:
        decisive["start"] = file_digest(start)
    return recipe.digest(**decisive), recipe.digest(**decisive, device=job.device, precision=job.precision, threads=job.threads)


def identity(role: str, parent: Run, child: Job) -> list:
    """What of a parent run decides a child's numbers.

    Its digest; what is chosen with its network where the child contains that; its seed where the child's recipe names it; which of several
    runs it is.
    """
    study, seed = parent.job.recipe.get("study"), child.recipe["parents"][role].get("seed")
    further = {"seed": seed} if seed is not None else {}
    further |= {"again": parent.again} if parent.again else {}
    return [parent.digest, *([study] if study and role != WEIGHTS else []), *([further] if further else [])]


def _start(job: Job, say: Callable[[str], None]) -> Path | None:
    """File of weights that a job starts from: the one that was named, else what its model finds."""
    if job.weights:
        return Path(job.weights)
    model = job.recipe["model"]
    options = {key: value for key, value in model.items() if key != "name"}
    return _found(registry.entry(model["name"]).pretrained, json.dumps(options), Path(job.data_root), say)


@functools.cache  # a download that fails takes its time
def _found(finder: str | None, options: str, data_root: Path, say: Callable[[str], None]) -> Path | None:
    return registry.imported(finder)(json.loads(options), data_root, say) if finder else None


def _inside(parents: Mapping[str, Run]) -> dict[str, Run]:
    return {role: each for role, each in parents.items() if role != WEIGHTS}
