"""Jobs one after the other, in this process."""

from collections.abc import Callable, Iterator

from .. import stages
from ..plan import Job
from ..runs import RunFolder
from ..training.view import View


def run(jobs: list[Job], place: stages.Place, view: Callable[[str], View]) -> Iterator[tuple[Job, RunFolder]]:
    """Yields each job with its finished folder, in the order of the plan. Raises as `stages.run`."""
    return stages.run(jobs, place, view)
