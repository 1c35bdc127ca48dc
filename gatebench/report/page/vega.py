"""Vega, Vega-Lite and Vega-Embed as one script, to be put into a page."""

import contextlib
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

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
        with contextlib.suppress(OSError):
            _keep(kept, text)
    return text


def _place() -> Path | None:
    try:
        return Path.home() / ".cache" / "gatebench" / f"vega-{version('vl-convert-python')}.js"
    except RuntimeError:  # no home folder
        return None


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.writing-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
