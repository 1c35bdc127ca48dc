"""Whether what a recipe asks for is there in the model and in the data: said before anything is trained."""

from .contract import GatedModel
from .errors import UsageError, nearest
from .recipe import Data, ExitChoice, ExitLoss, Recipe


def check(recipe: Recipe, model: GatedModel, sized: bool) -> None:
    """Raises UsageError naming the recipe's key where the model does not have what it asks for.

    `sized`: the model is that of the data, so that what its parts cost is known.
    """
    _check_freeze(recipe.training.freeze, model)
    objective = recipe.objective
    for name in objective.terms:
        if name not in model.terms:
            raise UsageError(
                f"objective.terms.{name}: the model has no such term.{nearest(name, model.terms)}"
                f" Its own are: {', '.join(model.terms) or 'none'}."
            )
    if objective.budget and not (model.units and model.soft_gates):
        raise UsageError("objective.budget: the model has no gates that a budget could hold down; leave it out.")
    if objective.exits:
        _check_loss(objective.exits, model)
    if recipe.evaluation.exits:
        _check_choice(recipe.evaluation.exits, recipe.data, model)
        if sized:
            _check_budgets(recipe.evaluation.exits.budgets, model)


def _check_freeze(names: tuple[str, ...], model: GatedModel) -> None:
    parts = dict(model.named_modules())
    del parts[""]
    for name in names:
        if name not in parts:
            raise UsageError(f"training.freeze: the model has no part {name!r}.{nearest(name, parts)}")
    frozen = {id(weight) for name in names for weight in parts[name].parameters()}
    if frozen >= {id(weight) for weight in model.parameters()}:
        raise UsageError("training.freeze: nothing is left to train; leave a part out.")


def _check_loss(rule: ExitLoss, model: GatedModel) -> None:
    if model.exits == 1:
        raise UsageError("objective.exits: the model has one answer and no exits before it; leave it out.")
    if (rule.final_weights is None) != (rule.anneal_epochs == 0):
        raise UsageError("objective.exits: final_weights and anneal_epochs want each other; give both or neither.")
    for name in ("weights", "final_weights"):
        weights = getattr(rule, name)
        if weights is None:
            continue
        if len(weights) != model.exits:
            raise UsageError(f"objective.exits.{name}: the model has {model.exits} exits; give one weight for each.")
        always = sum(weights) if rule.eligibility == "all" else weights[0]  # later exits may not be eligible for an input
        if always + rule.floor == 0:
            raise UsageError(
                f"objective.exits.{name}: an input might train no exit at all. Give the first a weight, or set objective.exits.floor."
            )


def _check_choice(choice: ExitChoice, data: Data, model: GatedModel) -> None:
    if model.exits == 1:
        raise UsageError("evaluation.exits: there are thresholds to choose only for a model with exits; leave it out.")
    if choice.rules[0] != model.policy.rule:
        raise UsageError(
            f"evaluation.exits.rules: the first must be the model's own, {model.policy.rule!r}; --set model.rule changes that."
        )
    if not data.validation or data.scored == "validation":
        raise UsageError(
            "evaluation.exits: thresholds are chosen on a validation part and scored on test. Set data.validation to a number of images,"
            " and leave data.scored at test."
        )


def _check_budgets(budgets: tuple[float, ...], model: GatedModel) -> None:
    least = float(model.macs(model.least()[None].numpy())[0]) / model.macs_static
    for budget in budgets:
        if budget < least:
            raise UsageError(
                f"evaluation.exits.budgets: {budget:g} is less of the static twin's MACs than the first exit costs, {least:.3f}."
                f" Give larger ones, as --set 'evaluation.exits.budgets=[{(1 + least) / 2:.2f}]'."
            )
