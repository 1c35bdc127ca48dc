"""The parts of a recipe that its model declares, checked: losses, study, and the roles of parents.

Nothing here imports torch.
"""

from typing import Any

from pydantic import ValidationError

from .errors import UsageError, explain, nearest, quoted
from .losses import CrossEntropy, Loss
from .models.registry import Entry
from .settings import Part
from .studies import Study


def losses_of(given: Any, declared: Entry, where: str) -> dict[str, Loss]:
    """Losses by kind. Raises UsageError for a kind that the model is not trained with, and for a wrong setting of one."""
    kinds = declared.loss_kinds()
    if given is None:
        return {CrossEntropy.kind: CrossEntropy()}
    if not isinstance(given, dict) or not given:
        raise UsageError(f"In {where}: losses = {quoted(given)} is not allowed: give losses by kind: {', '.join(kinds)}.")
    for kind in given:
        if kind not in kinds:
            raise UsageError(f"In {where}: unknown key {quoted(f'losses.{kind}')}.{nearest(kind, kinds)} Allowed here: {', '.join(kinds)}.")
    return {kind: _settings(kinds[kind], {} if value is None else value, where, f"losses.{kind}") for kind, value in given.items()}


def study_of(given: Any, declared: Entry, where: str) -> Study | None:
    """The study. Raises UsageError where the model has none, or another, and for a wrong setting."""
    if given is None:
        return None
    if declared.study is None:
        raise UsageError(f"In {where}: study: there is nothing to choose for {declared.name} once it is trained; leave it out.")
    if isinstance(given, dict):
        kind, given = given.get("kind", declared.study.kind), {key: value for key, value in given.items() if key != "kind"}
        if kind != declared.study.kind:
            said = f"the study of {declared.name} is {declared.study.kind!r}"
            raise UsageError(f"In {where}: study.kind = {quoted(kind)} is not allowed: {said}.")
    return _settings(declared.study, given, where, "study")


def check_roles(parents: Any, declared: Entry, losses: dict[str, Loss], where: str) -> None:
    """Raises UsageError where a parent that the model or a loss needs is not named."""
    roles = parents if isinstance(parents, dict) else {}
    needed = {role: declared.name for role in declared.parents}
    needed |= {role: f"losses.{each.kind}" for each in losses.values() for role in each.parents}
    for role, who in needed.items():
        if role not in roles:
            raise UsageError(f"In {where}: {who} needs a parent run named parents.{role}.{nearest(role, roles)}")


def _settings(schema: type[Part], given: Any, where: str, key: str) -> Any:
    """A group of settings that its own component validates."""
    if not isinstance(given, dict):
        raise UsageError(
            f"In {where}: {key} = {quoted(given)} is not allowed: it is a group of settings: {', '.join(schema.model_fields) or 'none'}."
        )
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise explain(error, schema, where, f"{key}.") from None
