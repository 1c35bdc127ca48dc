"""DynConv's network for poses: https://github.com/thomasverelst/dynconv, commit 19e4c58."""

from repositories import importable

importable("dynconv/pose/tools", "dynconv/pose/lib")
import models.hourglass_mn  # noqa: E402


def stacked_hourglass(classes):
    return models.hourglass_mn.HourglassNet()
