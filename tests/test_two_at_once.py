"""Two commands at once in the same folders, what killed ones leave, and signals that end one."""

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL, STATIC, Fork, copied, routers, trained_run
from test_runs import assert_same, numbers, only_folder

from gatebench import locks, runs
from gatebench.errors import GatebenchError
from gatebench.measure import exclusive, protocol
from gatebench.runs import RunFolder
from gatebench.training import loop

pytest.importorskip("fcntl")

TRAIN = ["train", "resnet8", *SMALL, "--epochs", "4"]
SHORT = ["--inputs", "8", "--repeats", "5", "--max-seconds", "1", "--threads", "1"]
LONG = ["--inputs", "8", "--repeats", "100000", "--max-seconds", "100000", "--threads", "1"]
AT, GO = "TWO_AT_ONCE_AT", "TWO_AT_ONCE_GO"
"""Files of a process that stops on its way: it writes the first where it is there, and goes on when the second is."""


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def wait_here() -> None:
    Path(os.environ[AT]).touch()
    until(Path(os.environ[GO]).exists)


def beside() -> None:
    """From now on this process times while others do."""
    exclusive.LOCK = Path(os.environ[AT]).with_name(f"timing-{os.getpid()}.lock")


def stops_writing_times() -> None:
    """From now on this process stops where its first file of times is half written."""
    beside()
    replace, first = os.replace, [True]

    def stop(source, target):
        if "/times/" in str(target) and first:
            first.clear()
            wait_here()
        replace(source, target)

    os.replace = stop


def stops_measuring() -> None:
    """From now on this process stops after the sixth round of a timing."""
    beside()
    measured, count = protocol._round, itertools.count()

    def stop(*arguments):
        if next(count) == 7:  # one to warm up
            wait_here()
        return measured(*arguments)

    protocol._steady, protocol._round = lambda medians: True, stop


def stops_training() -> None:
    """From now on this process stops in the middle of the third epoch."""
    step = loop.Trainer.step

    def stop(self, batch, epoch):
        if epoch > 2.5:
            wait_here()
        return step(self, batch, epoch)

    loop.Trainer.step = stop


def ends_writing_a_checkpoint() -> None:
    """From now on this process hears SIGTERM where its second checkpoint is half written."""
    replace, count = os.replace, itertools.count()

    def end(source, target):
        if str(target).endswith("resume.pt") and next(count) == 1:
            signal.raise_signal(signal.SIGTERM)
        replace(source, target)

    os.replace = end


@pytest.fixture
def forks(gatebench_forks, tmp_path):
    gatebench_forks.environment |= {AT: str(tmp_path / "at"), GO: str(tmp_path / "go")}
    return gatebench_forks


@pytest.fixture
def run(static_run, tmp_path) -> Path:
    (tmp_path / "results").mkdir()
    return copied(static_run, tmp_path / "results")


def said(process: Fork) -> str:
    """All it has printed until now."""
    return " ".join(" ".join(file.read_text() for file in process.files if file.exists()).split())


def ended(process: Fork, *codes: int) -> str:
    """What it said on stderr; it must have ended with one of the codes."""
    _, err = process.communicate()
    assert process.returncode in codes and "Traceback" not in err, (process.returncode, err)
    return " ".join(err.split())


def timings(run: Path) -> list[str]:
    """Names of the timings in a run's folder. Fails where one lacks a file, or anything unfinished is left."""
    names = sorted(path.stem for path in run.glob("times/*.jsonl"))
    wanted = {f"{name}.{ending}" for name in names for ending in ("csv", "json", "jsonl")}
    assert {path.name for path in run.glob("times/*")} == wanted and all(path.stat().st_size for path in run.glob("times/*"))
    assert not list(run.rglob(".*"))
    return names


# A profile beside others


def profiles_at_once(forks, run: Path, count: int = 2) -> None:
    before = len(timings(run))
    at_once = [forks.start("profile-latency", str(run), *SHORT, begin=beside) for _ in range(count)]
    for process in at_once:
        ended(process, 0, 3)
    assert len(timings(run)) == before + count


def test_two_profiles_of_one_run_both_keep_their_rows(forks, run):
    profiles_at_once(forks, run)


@pytest.mark.slow
def test_a_profile_of_a_run_whose_times_another_is_writing_waits(forks, run):
    first = forks.start("profile-latency", str(run), *SHORT, begin=stops_writing_times)
    until((run.parent.parent / "at").exists)
    second = forks.start("profile-latency", str(run), *SHORT, begin=beside)
    until(lambda: f"{run} is being written by process {first.pid} on " in said(second))
    (run.parent.parent / "go").touch()
    assert "waiting for its end." in ended(second, 0, 3)
    ended(first, 0, 3)
    assert len(timings(run)) == 2


def test_a_command_that_trains_waits_for_a_profile_that_writes(forks, run):
    profile = forks.start("profile-latency", str(run), *SHORT, begin=stops_writing_times)
    until((run.parent.parent / "at").exists)
    (run / "summary.json").unlink()  # it is to be evaluated again
    train = forks.start("train", "resnet8", *STATIC, "--out", str(run.parent))
    until(lambda: f"is being written by process {profile.pid} on " in said(train))
    (run.parent.parent / "go").touch()
    ended(train, 0)
    ended(profile, 0, 3)
    assert len(timings(run)) == 1 and (run / "summary.json").exists()


def profile_beside_train(gatebench, forks, run: Path) -> None:
    """A command that trains looks at a finished run while its times are being written."""
    at, go = (Path(forks.environment[name]) for name in (AT, GO))
    at.unlink(missing_ok=True)
    go.unlink(missing_ok=True)
    before = len(timings(run))
    profile = forks.start("profile-latency", str(run), *SHORT, begin=stops_writing_times)
    until(at.exists)
    train = forks.start("train", "resnet8", *STATIC, "--out", str(run.parent))
    until(lambda: train.poll() is not None or "waiting for its end" in said(train) or "finished before" in said(train))
    assert len(list(run.glob("times/.*.writing-*"))) == 1, "what is being written stays"
    go.touch()
    ended(train, 0)
    ended(profile, 0, 3)
    assert len(timings(run)) == before + 1


def test_a_command_that_looks_at_a_run_leaves_what_a_profile_is_writing(gatebench, forks, run):
    profile_beside_train(gatebench, forks, run)


@pytest.mark.slow
def test_again_and_again(gatebench, forks, run):
    for _ in range(12):
        profiles_at_once(forks, run)
    profiles_at_once(forks, run, count=6)
    for _ in range(8):
        profile_beside_train(gatebench, forks, run)


def test_a_run_that_trains_cannot_be_timed_and_who_trains_it_is_said(gatebench, run):
    busy = f"{run} is being written by process {os.getpid()} on "
    with RunFolder(run).locked():
        assert busy in (first := gatebench.refused("profile-latency", str(run), *SHORT, code=1)) and first.endswith("then time it.")
        (run / "summary.json").unlink()
        unfinished = gatebench.refused("profile-latency", str(run), *SHORT, code=1)
        assert busy in unfinished and "and has not finished. Wait for it, then time it." in unfinished
    assert "has not finished. Give the command that trains it again" in gatebench.refused("profile-latency", str(run), *SHORT, code=2)
    assert not (run / "times").exists()


def test_times_that_cannot_be_kept_are_shown(gatebench, run, tmp_path, monkeypatch):
    def read_only(path, mode="r", *arguments, **options):
        if Path(path).is_relative_to(run.parent) and mode != "rb":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return open(path, mode, *arguments, **options)

    def opened(path, how=os.O_RDWR | os.O_CREAT, real=locks.opened):
        if path.is_relative_to(run.parent):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, how)

    monkeypatch.setattr("gatebench.runs.open", read_only, raising=False)
    monkeypatch.setattr(locks, "opened", opened)
    done = gatebench("profile-latency", str(run), *SHORT, "--json")
    assert done.returncode in (0, 3) and json.loads(done.stdout)[0]["latency_ms"] > 0
    text = " ".join(done.stderr.split())
    assert f"will be shown, but not kept. Cannot write {run}/.lock: Read-only file system. Choose another --out" in text
    assert not list(run.glob("times/*"))
    assert gatebench("profile-latency", str(run), *SHORT, "--out", str(tmp_path / "elsewhere")).returncode in (0, 3)
    assert len(list(tmp_path.glob("elsewhere/*/times/*.jsonl"))) == 1
    assert "Cannot write" in gatebench.refused("profile-latency", str(run), *SHORT, "--out", str(run.parent / "x"), code=1)


def test_where_there_are_no_locks_commands_go_on_and_remove_nothing(gatebench, run, monkeypatch):
    def without(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", without)
    half = run / ".rows.jsonl.writing-abc"
    half.write_text("half")
    assert gatebench("profile-latency", str(run), *SHORT).returncode in (0, 3)
    with RunFolder(run).locked(), RunFolder(run).locked():
        assert half.exists()
    half.unlink()
    assert len(timings(run)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_a_lock_that_is_a_link_is_not_followed(tmp_path, there):
    """A run folder may be somebody else's."""
    precious, run = tmp_path / "precious.txt", RunFolder(tmp_path / "run")
    if there:
        precious.write_text("years of work")
    run.path.mkdir()
    (run / runs.LOCK).symlink_to(precious)
    with pytest.raises(GatebenchError, match="Cannot write"), run.locked():
        pass
    assert run.holder() is None
    assert precious.read_text() == "years of work" if there else not precious.exists()


@pytest.mark.slow
def test_two_sweeps_at_once_end_in_one_or_with_a_sentence(gatebench, forks, tmp_path):
    command = [*routers(tmp_path, "[1.0, 2.0]"), "--out", str(tmp_path / "out")]
    first, second = (forks.start(*command) for _ in range(2))
    said = [ended(process, 0, 1) for process in (first, second)]
    assert 0 in (first.returncode, second.returncode)
    for process, text in zip((first, second), said, strict=True):
        assert process.returncode == 0 or "is being written by process" in text
    at_once = [forks.start(*command, "--json") for _ in range(2)]
    for process in at_once:
        ended(process, 0)
    tables = [json.loads(process.files[0].read_text()) for process in at_once]
    assert tables[0] == tables[1] and len(list((tmp_path / "out").glob("sweep-*"))) == 2
    assert not list((tmp_path / "out").rglob(".*"))


# What killed ones leave


@pytest.mark.parametrize("name", [pytest.param("csv", marks=pytest.mark.slow), pytest.param("json", marks=pytest.mark.slow), "jsonl"])
def test_what_a_profile_left_that_was_killed_while_it_wrote_goes_with_the_next_command(gatebench, forks, run, name):
    process = forks.start("profile-latency", str(run), *SHORT, dies_writing=f"*/times/*Z.{name}", begin=beside)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(list(run.glob(f"times/.*.{name}.writing-*"))) == 1 and not list(run.glob("times/*.jsonl"))
    done = gatebench("train", "resnet8", *STATIC, "--out", str(run.parent))
    assert done.returncode == 0 and "nothing was trained" in " ".join(done.stdout.split())
    assert timings(run) == []


def test_a_name_stays_reserved_as_long_as_its_profile_lives(gatebench, forks, run):
    process = forks.start("profile-latency", str(run), *LONG, begin=stops_measuring)
    until((run.parent.parent / "at").exists)
    ((reserved),) = run.glob("times/*")
    train = ["train", "resnet8", *STATIC, "--out", str(run.parent)]
    assert gatebench(*train).returncode == 0 and reserved.exists() and not list(run.glob(".*"))
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert reserved.exists() and gatebench(*train).returncode == 0
    assert timings(run) == []


def test_what_others_left_in_a_folder_goes_and_what_is_being_written_stays(tmp_path):
    folder = RunFolder(tmp_path)
    for name in (".page.html.writing-1", ".other.writing-2"):
        folder.path.joinpath(name).write_text("half")

    def fill(stream):
        (mine,) = tmp_path.glob(".page.html.writing-*")
        with folder.locked():
            assert mine.exists() and not (tmp_path / ".other.writing-2").exists()
        folder.write_text("page.html", "inside")
        assert mine.exists()
        stream.write(b"outside")

    folder.write("page.html", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"] and (tmp_path / "page.html").read_text() == "outside"


def write_again_and_again(path: Path, letter: str) -> None:
    for _ in range(100):
        RunFolder(path).write("picture.png", lambda stream: [stream.write(letter.encode() * 1000) for _ in range(200)])


def test_a_file_that_two_write_at_once_is_always_a_whole_one(tmp_path):
    RunFolder(tmp_path).write_text("picture.png", "a" * 200_000)
    writers = [Fork.server.Process(target=write_again_and_again, args=(tmp_path, letter)) for letter in "abc"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = (tmp_path / "picture.png").read_bytes()
        assert len(content) == 200_000 and len(set(content)) == 1
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["report"], ["pareto"], ["report", "--format", "html"]], ids=" ".join)
def test_reports_and_pictures_drawn_at_once_and_killed_are_whole(gatebench, forks, run, command):
    assert gatebench("profile-latency", str(run), *SHORT).returncode in (0, 3)
    shutil.copytree(run, run.with_name(f"{run.name}-again"))  # a front of one point is not drawn
    results = str(run.parent)
    for pattern in ("*.png", "*.html", "*.svg"):
        killed = forks.start(*command, results, dies_writing=pattern)
        killed.communicate()
    for process in [forks.start(*command, results) for _ in range(3)]:
        ended(process, 0)
    drawn = [path for path in run.parent.rglob("*.png") if path.parent != run]
    assert drawn and all(path.read_bytes()[-8:-4] == b"IEND" for path in drawn)
    assert not list(run.parent.rglob(".*"))


# Signals


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple:
    return numbers(trained_run(tmp_path_factory.mktemp("unbroken"), *TRAIN))


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), pytest.param("SIGHUP", 129, marks=pytest.mark.slow)])
def test_a_training_that_is_ended_goes_on_with_equal_numbers(gatebench, forks, unbroken, tmp_path, number, code):
    out = tmp_path / "out"
    process = forks.start(*TRAIN, "--out", str(out), begin=stops_training)
    until((tmp_path / "at").exists)
    process.send_signal(getattr(signal, number))
    process.send_signal(getattr(signal, number))  # as `timeout` does
    assert "gatebench: interrupted; the same command (without --fresh) goes on after the last whole epoch." in ended(process, code)
    assert not list(out.rglob(".*"))
    done = gatebench(*TRAIN, "--out", str(out))
    assert done.returncode == 0 and "goes on after epoch" in done.stderr
    assert_same(numbers(only_folder(out)), unbroken)


@pytest.mark.slow
def test_a_checkpoint_that_is_being_written_is_dropped_and_the_one_before_kept(gatebench, forks, unbroken, tmp_path):
    ended(forks.start(*TRAIN, "--out", str(tmp_path / "out"), begin=ends_writing_a_checkpoint), 143)
    assert not list((tmp_path / "out").rglob(".*"))
    done = gatebench(*TRAIN, "--out", str(tmp_path / "out"))
    assert "goes on after epoch 1 of 4" in done.stderr
    assert_same(numbers(only_folder(tmp_path / "out")), unbroken)


def test_a_profile_that_is_ended_keeps_its_rows(forks, run):
    process = forks.start("profile-latency", str(run), *LONG, begin=stops_measuring)
    until((run.parent.parent / "at").exists)
    process.send_signal(signal.SIGTERM)
    assert "interrupted; what was measured until then is kept." in ended(process, 143)
    (name,) = timings(run)
    row = json.loads((run / "times" / f"{name}.jsonl").read_text())
    assert row["interrupted"] and row["rounds"] == 6


ALONE = """
import signal, subprocess, sys, time
from gatebench.cli import signals
%s
with signals.ending():
    try:
        child = subprocess.Popen(["sleep", "600"])
        print(child.pid, flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("cleaning up", flush=True)
        time.sleep(float(sys.argv[1]))
sys.exit(signals.exit_code())
"""


def started(before: str = "", cleaning: float = 0.0) -> tuple[subprocess.Popen, int]:
    """A process that ends as a command does, and takes some seconds for that; and the one that it began."""
    process = subprocess.Popen([sys.executable, "-c", ALONE % before, str(cleaning)], stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def is_gone(process: int) -> bool:
    with contextlib.suppress(OSError):
        return re.search(r"^State:\s+Z", Path(f"/proc/{process}/status").read_text(), re.M) is not None
    return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="without /proc the processes of a process are not found")
@pytest.mark.parametrize("again", [False, True])
def test_what_an_ended_command_began_ends_with_it_and_a_second_signal_ends_at_once(again):
    process, child = started(cleaning=600 if again else 0)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaning up\n"
    if again:
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == (130 if again else 143)
    until(lambda: is_gone(child), 20)


def test_a_signal_that_is_ignored_stays_so():
    """As under nohup."""
    process, _ = started("signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143


# One timing at a time


HOLD = """
import sys, time
from pathlib import Path
from gatebench.measure import exclusive
exclusive.LOCK = Path(sys.argv[1])
with exclusive.alone(lambda sentence: print(sentence, flush=True)):
    print("alone", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def timing(lock: Path, seconds: float, *prefix: str) -> subprocess.Popen:
    return subprocess.Popen([*prefix, sys.executable, "-c", HOLD, str(lock), str(seconds)], stdout=subprocess.PIPE, text=True, cwd="/")


def test_a_timing_says_whom_it_waits_for_and_goes_on_when_that_is_killed(tmp_path):
    first = timing(tmp_path / "lock", 600)
    assert first.stdout.readline() == "alone\n"
    second = timing(tmp_path / "lock", 0)
    assert second.stdout.readline().startswith(f"another timing runs on this machine (process {first.pid} on ")
    first.kill()
    assert second.stdout.readline() == "alone\n" and second.wait() == 0 and first.wait() == -signal.SIGKILL


def test_a_timing_waits_for_that_of_another_user(tmp_path):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("another user is to be root's to take")
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*other, sys.executable, "-c", "import gatebench.measure.exclusive"], cwd="/", capture_output=True).returncode:
        pytest.skip("another user cannot read gatebench here")
    for number, (one, two) in enumerate((([], other), (other, []))):
        lock = Path(f"/tmp/gatebench-test-{os.getpid()}-{number}.lock")  # where all may write
        try:
            first = timing(lock, 600, *one)
            assert first.stdout.readline() == "alone\n"
            second = timing(lock, 0, *two)
            assert f"(process {first.pid} on " in second.stdout.readline()
            first.kill()
            assert second.stdout.readline() == "alone\n" and second.wait() == 0 and first.wait() == -signal.SIGKILL
        finally:
            lock.unlink(missing_ok=True)


def test_a_brief_writer_is_waited_for_and_another_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MOMENT", 0.1)
    folder, heard = RunFolder(tmp_path / "run"), []
    with folder.locked(), pytest.raises(GatebenchError, match="is being written by process"), folder.locked("Wait", brief=True):
        pass
    go = tmp_path / "go"
    holder = Fork.server.Process(target=hold_briefly, args=(folder.path, go))
    holder.start()
    until(lambda: folder.holder() is not None)
    with folder.locked(say=lambda sentence: (heard.append(sentence), go.touch())):
        assert folder.holder().startswith(f"process {os.getpid()} on ")
    assert re.search(f"run is being written by process {holder.pid} on .*; waiting for its end.", heard[0])
    holder.join()
    assert folder.holder() is None


def hold_briefly(path: Path, go: Path) -> None:
    with RunFolder(path).locked(brief=True):
        until(go.exists)
