"""Clocks: how long one call takes on a device."""

import math
import statistics
import time
from collections.abc import Callable

import torch


class CpuClock:
    """Wall time, `time.perf_counter_ns`."""

    name = "perf_counter_ns"

    def seconds(self, work: Callable[[], object]) -> float:
        started = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - started) / 1e9

    def moment(self) -> tuple[float, float]:
        """Wall seconds, and processor seconds of this process with all its threads, so far.

        Not those of the calling thread alone: it sleeps or spins while threads of torch's pool, or of a network's own, compute. Time that
        the host of a virtual machine takes away is no processor time, where the host tells the system.
        """
        return time.perf_counter(), time.process_time()

    @property
    def resolution(self) -> float:
        """Seconds, as the system declares it."""
        return time.get_clock_info("perf_counter").resolution


class CudaClock:
    """Time between two events in the current stream: the device's work, and the launches that it waited for."""

    name = "cuda events"
    resolution = 0.5e-6
    """Seconds, as CUDA's documentation gives it."""

    def seconds(self, work: Callable[[], object]) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def moment(self) -> tuple[float, float]:
        """Not numbers: the device computes, not the processor."""
        return math.nan, math.nan


Clock = CpuClock | CudaClock


def clock_for(device: torch.device) -> Clock:
    """The clock of a device."""
    return CudaClock() if device.type == "cuda" else CpuClock()


def overhead(clock: Clock, calls: int = 1000) -> float:
    """Seconds that the clock shows for an empty call: the median of `calls`."""
    return statistics.median(clock.seconds(lambda: None) for _ in range(calls))
