"""The gated models and their registry; a new method is one module here and one recipe."""

from . import cosinegate, early_exit, resnet  # noqa: F401  (importing a module registers its models)
from .registry import create, entry, list_models, register, resolve

__all__ = ["create", "entry", "list_models", "register", "resolve"]
