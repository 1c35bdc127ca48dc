"""Shared by all tests: the command line in process and as a process, small data, runs that several tests read, and real data."""

import contextlib
import functools
import gc
import io
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks are so small that threads would only wait for each other
os.environ |= {"COLUMNS": "120", "NO_COLOR": "1"}  # rich reads them when gatebench is imported

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what it runs behind; commands under test are to hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL = ["--dataset", "shapes", "--set", "data.shapes.train=160", "--set", "data.shapes.test=80", "--set", "data.shapes.image_size=16",
         "--set", "training.batch_size=32", "--threads", "1"]  # fmt: skip
"""A training run of about a second."""
STATIC = [*SMALL, "--epochs", "1"]
"""The shortest run of resnet8."""
GATED = [*STATIC, "--set", "model.depth=8"]
"""The shortest run of cosinegate."""

ROUTERS = """
source: made up
model: {name: router, gater: {kind: learned, size: 16, pretrained: false}, latency_ms: MILLISECONDS}
parents:
  sharp: {model: resnet8, config: default, epochs: 3, seed: 0, changes: [data.training_severity=clean, CHANGES]}
  blurred: {model: resnet14, config: default, epochs: 3, seed: 0, changes: [data.training_severity=severe, CHANGES]}
data:
  name: shapes
  augment: none
  validation: 40
  holdout: 100
  train_on: holdout
  severities: {clean: {}, severe: {blur: 1.2, noise: 0.16}}
  shapes: {train: 400, test: 60, image_size: 16, classes: 4}
losses:
  routing: {weight: 0.7}
training: {epochs: 3, batch_size: 20, optimizer: adam, learning_rate: 3.0e-3, weight_decay: 0.0, schedule: constant}
study: {kind: routing}
tradeoff: losses.routing.weight
"""


def routers(home: Path, milliseconds: str) -> list[str]:
    """A sweep of two routers between two experts, of some seconds; `milliseconds` are the experts', or "measured"."""
    recipe = home / "tiny.yaml"
    recipe.write_text(ROUTERS.replace("MILLISECONDS", milliseconds).replace("CHANGES", "data.augment=none, training.batch_size=20"))
    return ["sweep-lambda", "--config", str(recipe), "--values", "0.9,1", "--threads", "1"]


class Command:
    """`gatebench ...` in this process, with what it prints; `start` makes a process of its own."""

    def __init__(self, home: Path):
        self.started: list = []
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "GATEBENCH_DATA": str(home.with_name(f"{home.name}-data")),  # tests count what is in their home
            **{proxy: "http://127.0.0.1:9" for proxy in ("http_proxy", "https_proxy")},  # no test downloads anything
            "PYTHONUNBUFFERED": "1",
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess:
        import torch

        from gatebench import cli

        out, err = io.StringIO(), io.StringIO()
        threads, code = torch.get_num_threads(), 0
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name, value in self.environment.items():
                if os.environ.get(name) != value:
                    patch.setenv(name, value)
            try:
                cli.app(list(arguments), prog_name="gatebench")
            except SystemExit as exit:
                code = exit.code or 0
            except Exception:  # as the interpreter ends
                traceback.print_exc()
                code = 1
            finally:
                torch.set_num_threads(threads)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        """A process with a Python of its own, which takes seconds to import torch."""
        command = [sys.executable, "-m", "gatebench", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.started.append(subprocess.Popen(command, env=self.environment, text=True, **pipes, **options))
        return self.started[-1]

    def json(self, *arguments: str):
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, code: int) -> str:
        """The one sentence of a command that must fail with `code`."""
        done = self(*arguments)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.split())


class Process(Command):
    """`gatebench ...` as a user starts it."""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


class Fork:
    """`gatebench ...` as a process of its own that need not import anything: forked from one that did."""

    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(
        ["pytest", "torch._dynamo", "gatebench.cli", "gatebench.stages", "gatebench.report.train_table",
         "gatebench.models.blocks.cosinegate", "gatebench.profiling.together", "gatebench.report.latency_table"]
    )  # fmt: skip
    """torch._dynamo: torch imports it itself when MACs are counted."""

    def __init__(self, files: list[Path], environment: dict[str, str], arguments: tuple[str, ...], **options):
        self.files = files
        self.process = self.server.Process(target=_run, args=(files, environment, arguments), kwargs=options)
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def communicate(self) -> tuple[str, str]:
        """What it printed, once it has ended."""
        self.process.join(timeout=300)
        return tuple(file.read_text() for file in self.files)


def _run(
    files: list[Path],
    environment: dict[str, str],
    arguments: tuple[str, ...],
    dies_writing: str | None,
    after: int,
    begin: Callable[[], None] | None,
) -> None:
    os.environ.update(environment)
    for descriptor, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    from gatebench import cli

    replace, written = os.replace, itertools.count()

    def replace_or_die(source: str | Path, target: str | Path) -> None:
        if dies_writing and Path(target).match(dies_writing) and next(written) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die
    if begin:
        begin()
    cli.app(list(arguments), prog_name="gatebench")


class Forks(Command):
    """Processes that start at once, for tests that kill many."""

    def __init__(self, home: Path):
        super().__init__(home)
        self.home = home

    def start(self, *arguments: str, dies_writing: str | None = None, after: int = 0, begin: Callable[[], None] | None = None) -> Fork:
        """`dies_writing` is a pattern, such as "router-*/resume.pt": once `after` such files were written, the process is killed just
        before the next one would be there. `begin` is a function of a test module, called in the process first."""
        files = [self.home / f"process-{len(self.started)}.{stream}" for stream in ("out", "err")]
        self.started.append(Fork(files, self.environment, arguments, dies_writing=dies_writing, after=after, begin=begin))
        return self.started[-1]


class Silent:
    """A view of a run that wants to hear everything, and keeps what it hears."""

    def __init__(self, title: str = ""):
        self.title, self.updates, self.epochs, self.said = title, [], [], []

    def begin(self, *arguments, **options) -> None:
        pass

    def wants_update(self) -> bool:
        return True

    def update(self, epoch: int, step: int, images: int, means: dict[str, float]) -> None:
        self.updates.append((epoch, step, means["loss"]))

    def epoch_done(self, row: dict) -> None:
        self.epochs.append(row)

    def say(self, what: str) -> None:
        self.said.append(what)

    @contextlib.contextmanager
    def counting(self, what: str, total: int, unit: str) -> Iterator:
        yield lambda done: None

    def end(self) -> None:
        pass


def _until_done(command: Command) -> Iterator[Command]:
    yield command
    for process in command.started:  # what a failed test left running
        process.kill()


@pytest.fixture
def gatebench(tmp_path) -> Iterator[Command]:
    """The command line in this process."""
    yield from _until_done(Command(tmp_path))


@pytest.fixture
def gatebench_process(tmp_path) -> Iterator[Process]:
    """The command line in a process of its own, where that is the point."""
    yield from _until_done(Process(tmp_path))


@pytest.fixture
def gatebench_forks(tmp_path) -> Iterator[Forks]:
    """The command line in processes of their own that start at once."""
    yield from _until_done(Forks(tmp_path))


@pytest.fixture(scope="session", autouse=True)
def imported_once():
    """What the imports made stays; the garbage collector, which every timing calls, need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def static_run(tmp_path_factory) -> Iterator[Path]:
    """The finished run `train resnet8 STATIC`; to be read, or copied with `copied`. Fails at the end where a test wrote in it."""
    run = trained_run(tmp_path_factory.mktemp("static"), "train", "resnet8", *STATIC)
    files = sorted(run.rglob("*"))
    yield run
    assert sorted(run.rglob("*")) == files, "a test wrote in the run that all share: give it a copy"


def masked(text: str) -> str:
    """On one line, with every number as #."""
    return re.sub(r"\d+(\.\d+)?", "#", " ".join(text.split()))


def copied(run: Path, to: Path) -> Path:
    """A copy of a run folder below `to`."""
    return Path(shutil.copytree(run, to / run.name))


def trained_run(home: Path, *command: str) -> Path:
    """The folder of the one run that a training command makes below `home`."""
    done = Command(home)(*command, "--out", str(home / "results"))
    assert done.returncode == 0, done.stderr
    (folder,) = (home / "results").iterdir()
    return folder


@pytest.fixture(scope="session", autouse=True)
def short_timings() -> Iterator[None]:
    """What sweeps and routers time takes five rounds."""
    from gatebench import timing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ROUNDS", 5)
        patch.setattr(timing, "SECONDS", 5.0)
        yield


@pytest.fixture(scope="session")
def operators_read_once() -> Iterator[None]:
    """The signatures of the exporter's operators are remembered; it reads them from their sources at each export, a third of its time."""
    values = pytest.importorskip("onnxscript.values", reason="export needs pip install 'gatebench[export]'")
    read = values.TracedOnnxFunction.function_ir.fget
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values.TracedOnnxFunction, "function_ir", property(functools.cache(read)))
        yield


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The root of real data sets, or a skip."""
    root = Path(os.environ.get("GATEBENCH_DATA") or Path.home() / ".cache" / "gatebench")
    if not (root / "cifar-10-batches-py").exists():
        pytest.skip(f"real CIFAR-10 is not below {root}; set GATEBENCH_DATA to where it is")
    return root
