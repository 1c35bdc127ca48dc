"""A Ray cluster: joined or started, and left."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator

import torch

from ..device import default_threads
from ..errors import GatebenchError, UsageError
from ..plan import Job

OBJECTS = 256 * 2**20
"""Bytes for what is under way in a cluster that is started here; what is more goes to the disk."""
SECONDS = 20
"""How long an address may take to answer."""


def check(address: str | None) -> None:
    """Raises UsageError where Ray is not installed, or cannot be joined by an address of this kind."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--executor ray needs Ray, which is not installed. Run `pip install 'gatebench[ray]'`.")
    if address and address != "auto" and not _host_and_port(address):
        raise UsageError(f"--address wants auto or host:port of the cluster's head, as 10.0.0.1:6379, not {address!r}.")


class ClusterError(GatebenchError):
    """There is no cluster that could do anything."""


@contextlib.contextmanager
def joined(address: str | None, jobs: Iterable[Job]) -> Iterator[None]:
    """The cluster at `address`, else one of this machine alone, until the end.

    Raises ClusterError where it does not answer, or none of its machines has what a job needs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    jobs, ended_by = list(jobs), signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    with contextlib.redirect_stdout(sys.stderr):  # on which Ray prints what it has to say
        try:
            if address:
                _join(address, quiet)
            else:
                cores = max(default_threads(), *(job.threads for job in jobs))
                here = {"num_cpus": cores, "num_gpus": torch.cuda.device_count(), "object_store_memory": OBJECTS}
                ray.init(address="local", include_dashboard=False, **here, **quiet)
            with contextlib.suppress(ValueError, TypeError):  # not the main thread, or not Python's
                signal.signal(signal.SIGTERM, ended_by)  # for which Ray sets what exits at once
            for job in jobs:
                _check_machines(job)
            yield
        finally:
            ray.shutdown()


def needs(job: Job) -> dict[str, int]:
    """What a job takes of a machine, as Ray names it."""
    return {"num_cpus": job.threads, "num_gpus": int(job.device == "cuda")}


def _check_machines(job: Job) -> None:
    """Raises ClusterError where a job would wait for ever."""
    import ray

    wanted = needs(job)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = [each for each in machines if each.get("GPU", 0) >= wanted["num_gpus"]]
    if not fitting:
        raise ClusterError("No machine of the cluster has a GPU. Use --device cpu, or add one that has.")
    most = int(max(each.get("CPU", 0) for each in fitting))
    if most < job.threads:
        raise ClusterError(f"A run wants {job.threads} CPUs, and the largest machine of the cluster has {most}. Use --threads {most}.")


def _join(address: str, options: dict) -> None:
    """Raises ClusterError where no cluster answers: asked first, for Ray itself tries for minutes."""
    import ray

    where = "on this machine" if address == "auto" else f"at {address}"
    try:
        if address != "auto":
            socket.create_connection(_host_and_port(address), timeout=5).close()
        asked = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
        status = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS)
        if "AuthenticationError" in status.stderr:
            mend = "Copy ~/.ray/auth_token from its head to this machine, and set RAY_AUTH_MODE=token"
            raise ClusterError(f"The Ray cluster {where} wants its token. {mend}.")
        status.check_returncode()
        ray.init(address=address, **options)
    except (OSError, subprocess.SubprocessError):
        mend = "Start one with `ray start --head`, or leave --address out for this machine alone"
        raise ClusterError(f"No Ray cluster answers {where}. {mend}.") from None


def _host_and_port(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    return (host, int(port)) if host and port.isdecimal() and "/" not in host else None
