"""Where and in which precision to compute."""

import contextlib
import ctypes
import os

import torch

from .errors import UsageError
from .measure.machine import computes_bf16


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`. Raises UsageError for another name, and for `cuda` where there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device wants auto, cpu or cuda (a GPU), not {name!r}.")
    has_gpu = torch.cuda.is_available()
    torch.backends.cudnn.allow_tf32 = False  # what a row calls fp32 is fp32
    if name == "cuda" and not has_gpu:
        raise UsageError("There is no CUDA GPU that torch can use here. Use --device cpu, or install a CUDA build of torch and a driver.")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def default_threads() -> int:
    """All cores this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


def set_threads(count: int | None) -> None:
    """Fix the number of CPU threads (none: all cores this process may use), and keep big buffers between steps.

    glibc gives every buffer above 32 MB, and at first above 128 kB, back to the system when it is freed; the next step then
    pays a page fault for each 4 kB it touches. On ResNet-20 with batches of 128 that costs up to a tenth of the step.
    """
    torch.set_num_threads(count or default_threads())
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        mmap_threshold, trim_threshold = -3, -1
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 30)
        ctypes.CDLL(None).mallopt(trim_threshold, (1 << 31) - 1)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` resolved: bf16 where the device multiplies it natively, else fp32."""
    if name != "auto":
        return name
    return "bf16" if computes_bf16(device) else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a forward pass computes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
