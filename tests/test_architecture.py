"""The shape of the code: families keep to themselves, and what only lists or reports loads no torch."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import gatebench

ROOT = Path(gatebench.__file__).parent
FAMILIES = sorted(path.parent.name for path in (ROOT / "models").glob("*/family.py"))


def classes_of(family: str) -> set[str]:
    """Names of the classes in a family's modules."""
    modules = (ROOT / "models" / family).rglob("*.py")
    return {node.name for path in modules for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}


def columns_of(family: str) -> set[str]:
    """Names of the columns that the models of this family declare, and those of no other."""
    from gatebench.models.registry import entry, list_models

    declared = {}
    for each in map(entry, list_models()):
        if isinstance(each.source, str):
            name = each.source.removeprefix("gatebench.models.").split(".")[0]
            declared.setdefault(name, set()).update(column.name for column in each.columns)
    others = (columns for name, columns in declared.items() if name != family)
    return declared[family].difference(*others, {"tradeoff"})


def names_in(path: Path) -> tuple[set[str], set[str]]:
    """Identifiers and attributes, and strings, that the code of a file uses; docstrings do not count."""
    tree, names, strings = ast.parse(path.read_text()), set(), set()
    docstrings = {
        id(each.value)
        for node in ast.walk(tree)
        for each in (getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else [])
        if isinstance(each, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names |= {node.name, node.asname}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            strings.add(node.value)
    return names, strings


@pytest.mark.parametrize("family", FAMILIES)
def test_what_only_a_family_declares_is_named_nowhere_else(family):
    classes, columns, inside = classes_of(family), columns_of(family), ROOT / "models" / family
    assert classes
    for path in ROOT.rglob("*.py"):
        if inside not in path.parents:
            names, strings = names_in(path)
            named = (classes | columns) & names | columns & strings
            assert not named, (path, named)


def test_families_are_packages_with_empty_inits():
    assert {"static", "blocks", "exits"} <= set(FAMILIES)
    for path in (ROOT / "models").rglob("__init__.py"):
        assert path.read_text() == "", path


LIGHT = ["row", "settings", "losses", "studies", "recipe", "plan", "runs", "models.registry", "data.settings", "training.settings",
         "report.document", "report.front", "report.front_figure", "report.train_table", "report.latency_table", "cli",
         *(f"models.{family}.{name}" for family in FAMILIES for name in ("family", "settings", "columns", "pictures"))]  # fmt: skip


def test_settings_columns_and_tables_load_no_torch():
    modules = [f"gatebench.{name}" for name in LIGHT if (ROOT / f"{name.replace('.', '/')}.py").exists() or name == "cli"]
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name); assert 'torch' not in sys.modules, name"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_model_can_be_imported_from_where_it_is_registered():
    from gatebench.models.registry import entry, list_models

    for name in list_models():
        source = entry(name).source
        if isinstance(source, str):
            module, _, attribute = source.partition(":")
            assert callable(getattr(importlib.import_module(module), attribute))
