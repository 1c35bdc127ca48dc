"""Whether tensors by name are a network's, and why not."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import first_line, with_article
from ..foreign import plain

OPTIONAL = "num_batches_tracked"
"""Of batch norms, which torch before 0.4.1 did not count."""
HINTS = {
    "weight_g": "torch.nn.utils.weight_norm is still on; torch.nn.utils.remove_weight_norm(layer) before they are saved ends it",
    "weight_orig": "torch.nn.utils.prune is still on; torch.nn.utils.prune.remove(layer, 'weight') before they are saved ends it",
    "parametrizations": "a parametrization is still on; torch.nn.utils.parametrize.remove_parametrizations before they are saved ends it",
    "lora_A": "they have adapters apart; those have to be merged before they are saved",
}
"""What the part of a name says of weights that do not fit."""


def mismatch(wanted: Mapping[str, Any], state: Mapping[str, Any], error: Exception | None = None) -> str:
    """Why a state does not fit: how many tensors are missing, superfluous and of another shape, and the first of each; "" where it does.

    `error` is what the network said of it, for what is none of these.
    """
    if not isinstance(state, Mapping):
        return "there are no tensors by name"
    missing = [name for name in wanted if name not in state and not name.endswith(OPTIONAL)]
    superfluous = [name for name in state if name not in wanted]
    other = [name for name in wanted if name in state and not _alike(state[name], wanted[name])]
    reasons = []
    if missing:
        reasons.append(f"they lack {len(missing)} of the network's {len(wanted)} tensors ({_first(missing)})")
    if superfluous:
        reasons.append(f"they have {len(superfluous)} that the network has not ({_first(superfluous)})")
    if other:
        name, classes = other[0], _classes(wanted, state, other)
        sizes = f"{plain(name)} is {_shape(wanted[name])} here and {_shape(state[name])} in the file"
        more = f", and {len(other) - 1} more have other shapes" if len(other) > 1 and not classes else ""
        trained = ""
        if classes and not reasons:
            own, theirs = classes
            trained = f": they were trained for {theirs} classes, and this network has {own}; a --dataset of {theirs} would suit them"
        reasons.append(f"{sizes}{more}{trained}")
    reasons += [hint for part, hint in HINTS.items() if any(part in name.split(".") for name in superfluous)][:1]
    return "; ".join(reasons) or (first_line(error) if error else "")


def load_into(model: nn.Module) -> Callable[[Mapping[str, Any]], None]:
    """What gives a network all its weights, and raises ValueError where they are not its own."""

    def load(state: Mapping[str, Any]) -> None:
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError, ValueError, LookupError, AssertionError) as error:  # some are of its own hooks
            raise ValueError(mismatch(model.state_dict(), state, error)) from error

    return load


def _alike(value: Any, wanted: Any) -> bool:
    """Whether a value has the shape of the network's tensor; one without values takes any."""
    return not has_values(wanted) or (isinstance(value, Tensor) and value.shape == wanted.shape)


def has_values(wanted: Any) -> bool:
    """Whether a part of a network's state is a tensor, and not that of a lazy layer that has seen no input."""
    return isinstance(wanted, Tensor) and not nn.parameter.is_lazy(wanted)


def _classes(wanted: Mapping[str, Any], state: Mapping[str, Any], other: list[str]) -> tuple[int, int] | None:
    """Numbers of classes here and there, where all that differs is the number of rows of some tensors."""
    shapes = [(wanted[name].shape, getattr(state[name], "shape", ())) for name in other]
    rows = {(here[0], there[0]) for here, there in shapes if len(here) == len(there) > 0 and here[1:] == there[1:]}
    return rows.pop() if len(rows) == 1 and all(len(here) == len(there) > 0 and here[1:] == there[1:] for here, there in shapes) else None


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return with_article(type(value).__name__)
    return "x".join(map(str, value.shape)) or "a number"


def dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _first(names: list[str]) -> str:
    return f"{'first ' * (len(names) > 1)}{plain(names[0])}"
