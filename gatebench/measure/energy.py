"""Energy of a call: what a counter of the machine has risen by while one network ran again and again.

The counter is that of the whole device (board or package), idle power and whatever else runs there included; calls are far shorter than
its steps, so a network has it for itself for some tenths of a second, in turns with the others.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .machine import nvml

POWERCAP = Path("/sys/class/powercap")
ROUNDS = 10
"""The median of fewer has a bootstrap interval that misses it too often (of seven: 12 % of the time, where 5 % are meant)."""
SECONDS = 0.4
"""That a network runs in each round."""


class GpuCounter:
    """NVML's (Volta and newer). Raises RuntimeError where there is none."""

    def __init__(self, device: torch.device):
        pynvml, handle = nvml(device)
        self._read = lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        try:
            self._read()
        except pynvml.NVMLError as error:
            raise RuntimeError(str(error)) from error

    def joules(self) -> float:
        """Since the driver was loaded, of what is done by now."""
        torch.cuda.synchronize()
        return self._read() / 1e3


class CpuCounter:
    """Linux' power capping interface: the sum of the processor packages. Raises RuntimeError where it is not there or not readable."""

    def __init__(self, folder: Path = POWERCAP):
        self.zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]  # AMD's have that name too
        try:
            self.last = [self._microjoules(zone, "energy_uj") for zone in self.zones]
            self.ranges = [self._microjoules(zone, "max_energy_range_uj") for zone in self.zones]
        except (OSError, ValueError) as error:
            raise RuntimeError(f"{folder} cannot be read") from error
        if not self.zones:
            raise RuntimeError(f"{folder} has no counter")
        self.total = 0

    def joules(self) -> float:
        """Since the counter was opened; a zone that wrapped around once since the last reading is seen through."""
        now = [self._microjoules(zone, "energy_uj") for zone in self.zones]
        self.total += sum((new - old) % most for new, old, most in zip(now, self.last, self.ranges, strict=True))
        self.last = now
        return self.total / 1e6

    @staticmethod
    def _microjoules(zone: Path, name: str) -> int:
        return int((zone / name).read_text())


Counter = GpuCounter | CpuCounter


def counter_for(device: torch.device) -> Counter | None:
    """The device's counter, None where it has none that can be read."""
    try:
        return GpuCounter(device) if device.type == "cuda" else CpuCounter()
    except RuntimeError:
        return None


def joules_per_call(
    works: Sequence[Callable[[int], object]], calls: int, counter: Counter, *, rounds: int = ROUNDS, seconds: float = SECONDS, seed: int = 0
) -> np.ndarray:
    """Joules of a call, [rounds, works]; a work takes the number of a call, and does all `calls` again and again, in random turns."""
    draw = np.random.default_rng(seed)
    found = np.empty((rounds, len(works)))
    for number in range(rounds):
        for index in draw.permutation(len(works)):
            done, before, started = 0, counter.joules(), time.perf_counter()
            while done < calls or time.perf_counter() - started < seconds:
                works[index](done % calls)
                done += 1
            found[number, index] = (counter.joules() - before) / done
    return found
