"""Vega, Vega-Lite and Vega-Embed as one script, to be put into a page."""

import contextlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ...errors import GatebenchError
from ...runs import RunFolder

SMALLEST = 500_000
"""Bytes of the script; a file of fewer was cut."""


@cache
def script() -> str:
    """The script; kept in ~/.cache/gatebench, since making it takes seconds."""
    kept = _place()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if kept and kept.stat().st_size > SMALLEST:
            return kept.read_text(encoding="utf-8")
    import vl_convert

    text = vl_convert.javascript_bundle()
    if kept:
        with contextlib.suppress(GatebenchError):  # it is made again
            RunFolder(kept.parent).write_text(kept.name, text)
    return text


def _place() -> Path | None:
    try:
        return Path.home() / ".cache" / "gatebench" / f"vega-{version('vl-convert-python')}.js"
    except RuntimeError:  # no home folder
        return None
