"""Files of recipes, by name or path, as plain content: those that come with gatebench lie in `gatebench/recipes/<family>/<name>.yaml`."""

from importlib.resources import files
from pathlib import Path

from .errors import UsageError, unknown
from .foreign import Missing, Unreadable, read_text, typed_path
from .plain_data import from_yaml

LIBRARY = Path(str(files("gatebench"))) / "recipes"


def available(family: str | None = None) -> list[tuple[str, str]]:
    """(family, recipe name) of every recipe that comes with gatebench, or of one family."""
    return sorted(
        (folder.name, Path(file.name).stem)
        for folder in LIBRARY.iterdir()
        if folder.is_dir() and family in (None, folder.name)
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    )


def content_of(family: str, name: str) -> dict:
    """Of a recipe that comes with gatebench."""
    return read_content(LIBRARY / family / f"{name}.yaml")


def source(family: str, name: str) -> str:
    """Where a recipe's settings come from."""
    return content_of(family, name).get("source", "")


def with_tradeoff(family: str) -> list[str]:
    """The family's recipes that come with gatebench and name their trade-off."""
    return [name for _, name in available(family) if "tradeoff" in content_of(family, name)]


def find(family: str, config: str) -> tuple[dict, str]:
    """The content of the family's recipe named `config`, or of the file of that name, and what sentences call it.

    Raises UsageError for an unknown recipe, naming the nearest, and as `read_content`.
    """
    if config.endswith((".yaml", ".yml")) or "/" in config:
        return {"name": Path(config).stem, **read_content(typed_path(config))}, config
    names = [name for _, name in available(family)]
    if not names:
        raise UsageError(f"There is no recipe of {family}. Write one and name it with --config FILE.yaml.")
    if config not in names:
        raise unknown(f"recipe of {family}", config, names)
    return {"name": config, **content_of(family, config)}, f"recipe {config}"


def read_content(path: Path, mend: str = "") -> dict:
    """Of a file. Raises UsageError where it cannot be read or is no mapping; `mend` says what to do, a sentence without its full stop."""
    try:
        content = from_yaml(read_text(path))
    except Unreadable as error:
        missing = isinstance(error, Missing)
        mend = mend or ("Give a recipe's name or an existing YAML file" if missing else "Correct the file, or give another recipe")
        raise UsageError(f"Cannot read recipe {path}: {error}. {mend}.") from None
    if not isinstance(content, dict):
        raise UsageError(f"Recipe {path} must be a mapping with keys such as `model`, `data`, `training`.")
    return content
