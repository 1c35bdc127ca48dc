"""Shared by all tests: a command line that is run as a user runs it, small data, and where real data may lie."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as processors: threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SMALL = ["--dataset", "shapes", "--set", "data.shapes.train=160", "--set", "data.shapes.test=80", "--set", "data.shapes.image_size=16",
         "--set", "training.batch_size=32", "--threads", "1"]  # fmt: skip
"""A training run of about a second."""


class Command:
    """`gatebench ...` as a subprocess."""

    def __init__(self, home: Path):
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "GATEBENCH_DATA": str(home / "data"),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            **{proxy: "http://127.0.0.1:9" for proxy in ("http_proxy", "https_proxy")},  # no test downloads anything
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        command = [sys.executable, "-m", "gatebench", *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

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


@pytest.fixture
def gatebench(tmp_path) -> Command:
    return Command(tmp_path)


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The root of real data sets, or a skip."""
    root = Path(os.environ.get("GATEBENCH_DATA") or Path.home() / ".cache" / "gatebench")
    if not (root / "cifar-10-batches-py").exists():
        pytest.skip(f"real CIFAR-10 is not below {root}; set GATEBENCH_DATA to where it is")
    return root
