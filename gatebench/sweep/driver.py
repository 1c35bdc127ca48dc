"""Jobs on a Ray cluster: the driver, which sends tasks, brings their files back and measures times while nothing runs."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..assignment import Assignment, Place, Run, load_data, pool_of
from ..changed_code import code_digest
from ..errors import GatebenchError, first_line
from ..models import registry
from ..outputs import lacks_answers
from ..plan import Job
from ..report.groups import tradeoff_of, tradeoff_text
from ..runs import RunFolder
from ..stages import needs_work
from ..timing import complete
from ..training.view import View
from . import cluster, worker
from .parcel import Parcel, pack, unpack

ATTEMPTS = 2
"""How often a task is begun whose machine or process is lost."""
PATIENCE = 10.0
"""Seconds for cancelled tasks to end."""


def run(jobs: list[Job], place: Place, view: Callable[[str], View], address: str | None = None) -> Iterator[tuple[Job, RunFolder]]:
    """Train and evaluate the jobs of a plan on a cluster; yields each with its folder below `place.out` as it is finished.

    A job that fails does not stop the others. Raises GatebenchError for them once all else is done, ClusterError at once.
    """
    with contextlib.ExitStack() as stack:
        yield from Driver(jobs, place, view, lambda: stack.enter_context(cluster.joined(address, jobs))).run()


@dataclass
class Sent:
    """A task that was sent."""

    job: Job
    run: Run
    pool: str | None
    """Name of the pool whose outputs it computes, else it makes the run."""
    held: contextlib.ExitStack
    """The lock of the run's folder."""
    attempt: int = 1


class Driver:
    """What waits, what runs, and what is done, by the keys of the jobs."""

    def __init__(self, jobs: list[Job], place: Place, view: Callable[[str], View], join: Callable[[], object]):
        """`join` is called before the first task is sent."""
        self.place, self.view, self.join = place, view, join
        self.assigned = Assignment(jobs, place, view)
        self.waiting = {job.key: job for job in self.assigned.needed()}
        self.total, self.done = len(self.waiting), 0
        self.shown: dict[str, View] = {}
        self.failed: dict[str, str] = {}
        self.sent: dict[Any, Sent] = {}
        self.refs: dict[Path, Any] = {}
        self.joined = False

    def run(self) -> Iterator[tuple[Job, RunFolder]]:
        """As `run`."""
        try:
            while self.waiting:
                for job in list(self.waiting.values()):
                    try:
                        finished = self._begin(job)
                    except cluster.ClusterError:
                        raise
                    except GatebenchError as error:
                        self._fail(job, str(error))
                    else:
                        if finished:
                            yield job, finished
                yield from self._hear()
        finally:
            self._stop()
        if self.failed:
            count, (key, sentence) = len(self.failed), next(iter(self.failed.items()))
            others = f" ({count} of {self.total} runs failed or could not begin; the others are done.)"
            raise GatebenchError(f"{self._title(key)}: {sentence}{others}")

    def _begin(self, job: Job) -> RunFolder | None:
        """Send a job's task if it can be sent; returns the folder where nothing is left to do. Raises GatebenchError where it fails."""
        if any(each.job is job and not each.pool for each in self.sent.values()) or self.waiting.keys() & set(job.parents.values()):
            return None
        lost = [self._title(key) for key in job.parents.values() if key in self.failed]
        if lost:
            raise GatebenchError(f"it needs {lost[0]}, which failed.")
        run = self._assigned(job)
        if run is None:
            return None
        if job.key not in self.shown:
            self.shown[job.key] = self.view(self._title(job.key))
            if not needs_work(run, self.place, self.shown[job.key]):
                run.folder.tidy()
                return self._finish(job, run)
        pool = pool_of(run.inside, run.job, self.place.out).folder.path.name
        if all(each.pool != pool for each in self.sent.values()):
            self._send(Sent(job, run, pool if lacks_answers(run) else None, contextlib.ExitStack()))
        return None

    def _assigned(self, job: Job) -> Run | None:
        """The run of a job whose parents are done; None while tasks run that would disturb the timing that it needs."""
        run = self.assigned.runs.get(job.key)
        if run is None and self.sent and job.parsed.measured and not self.assigned.pool(job).times(self.assigned.conditions):
            return None
        return run or complete(job, self.assigned, self.view)

    def _send(self, sent: Sent) -> None:
        import ray

        if not self.joined:
            self.join()
            self.joined = True
        run, job = sent.run, sent.job
        pool = pool_of(run.inside, run.job, self.place.out).folder
        if sent.attempt == 1 and sent.pool:
            pool.tidy()
        elif sent.attempt == 1:
            sent.held.enter_context(run.folder.locked(say=self.shown[job.key].say))
        data = load_data(job).describe()["digest"]
        here = replace(run, job=replace(run.job, data_root=str(Path(job.data_root).resolve())))
        task = worker.Task(here, bool(sent.pool), data, code_digest(job.recipe["model"]["name"]))
        parcels = [self._ref(folder) for folder in _ancestors(run)]
        if run.inside:
            parcels.append(ray.put(pack(pool)))
        start = Parcel(".start", {run.start.name: run.start.read_bytes()}) if run.start else None
        perform = ray.remote(num_returns="streaming", max_retries=0, **cluster.needs(job))(worker.perform)
        self.sent[perform.remote(task, ray.put(pack(run.folder)), *parcels, start=start)] = sent
        if sent.attempt == 1:
            self._say("outputs of its parents are computed" if sent.pool else "sent", job)

    def _ref(self, folder: RunFolder) -> Any:
        """A finished run's files in the cluster, put there once."""
        import ray

        if folder.path not in self.refs:
            self.refs[folder.path] = ray.put(pack(folder, "resume.pt"))
        return self.refs[folder.path]

    def _hear(self) -> Iterator[tuple[Job, RunFolder]]:
        """Wait for the next news, if tasks run; yields the jobs that are finished with it."""
        import ray

        if not self.sent:
            return
        ready, _ = ray.wait(list(self.sent), timeout=1.0)
        for task in ready:
            sent = self.sent[task]
            try:
                news = ray.get(next(task))
                if news.line:
                    self.shown[sent.job.key].say(news.line)
                if news.parcel:
                    self._bring_back(news.parcel)
                if news.failed:
                    self._close(task)
                    self._fail(sent.job, news.failed)
                if news.done:
                    self._close(task)
                    if not sent.pool:
                        yield sent.job, self._finish(sent.job, sent.run)
            except ray.exceptions.RayTaskError as error:  # before it began: gatebench is not there
                self._close(task)
                self._fail(sent.job, f"a worker could not begin: {first_line(error.cause or error)}. Install gatebench on all machines.")
            except GatebenchError as error:  # the disk is full here
                ray.cancel(task)
                self._close(task)
                self._fail(sent.job, str(error))
            except (ray.exceptions.RayError, StopIteration):
                self._again(task)

    def _again(self, task: Any) -> None:
        """Send a task once more whose machine or process was lost, with what it had brought back."""
        sent = self.sent.pop(task)
        if sent.attempt < ATTEMPTS:
            self.shown[sent.job.key].say("its worker was lost; it goes on after what was brought back")
            self._send(replace(sent, attempt=sent.attempt + 1))
        else:
            sent.held.close()
            self._fail(sent.job, f"its worker was lost {ATTEMPTS} times; it may have had too little memory. The same command goes on.")

    def _close(self, task: Any) -> None:
        """After a task's last news: wait until it has removed its scratch folder."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            for _ in task:
                pass
        self.sent.pop(task).held.close()

    def _stop(self) -> None:
        """Cancel what runs; give it some seconds to remove its scratch folders."""
        import ray

        for task, sent in self.sent.items():
            ray.cancel(task)
            sent.held.close()
        until = time.monotonic() + PATIENCE
        while self.sent and time.monotonic() < until:
            ready, _ = ray.wait(list(self.sent), timeout=1.0)
            for task in ready:
                try:
                    ray.get(next(task))
                except (StopIteration, ray.exceptions.RayError):
                    del self.sent[task]
        self.sent, self.refs = {}, {}

    def _finish(self, job: Job, run: Run) -> RunFolder:
        self.waiting.pop(job.key)
        self.done += 1
        self._say("done", job)
        return run.folder

    def _fail(self, job: Job, sentence: str) -> None:
        self.waiting.pop(job.key)
        self.failed[job.key] = sentence
        self.shown.setdefault(job.key, self.view(self._title(job.key))).say(f"failed: {sentence}")

    def _bring_back(self, parcel: Parcel) -> None:
        """Write what a worker sent; a run of another machine is marked as made for this one."""
        if "machine.json" in parcel.files:
            made = json.loads(parcel.files["machine.json"])
            if made["name"] != self.assigned.conditions.machine:
                marked = json.dumps({**made, "driver": self.assigned.conditions.machine}, indent=2) + "\n"
                parcel = replace(parcel, files={**parcel.files, "machine.json": marked.encode()})
        unpack(parcel, self.place.out)

    def _say(self, what: str, job: Job) -> None:
        """ "sent (2 of 8 done, 3 with the cluster)"."""
        self.shown[job.key].say(f"{what} ({self.done} of {self.total} done, {len(self.sent)} with the cluster)")

    def _title(self, key: str) -> str:
        """A job for people, whether its run is known or not: "router small, lambda 0.7, seed 0"."""
        job = next(job for job in self.assigned.jobs if job.key == key)
        model, value = job.recipe["model"]["name"], job.parsed.tradeoff_value()
        columns = registry.entry(model).columns_of(job.parsed.tradeoff)
        tradeoff = [] if value is None else [tradeoff_text(tradeoff_of(columns), [value])]
        return ", ".join([f"{model} {job.recipe['name']}", *tradeoff, f"seed {job.seed}"])


def _ancestors(run: Run) -> list[RunFolder]:
    """The folders of a run's parents, and of theirs, each once."""
    folders = {each.path: each for parent in run.parents.values() for each in (parent.folder, *_ancestors(parent))}
    return list(folders.values())
