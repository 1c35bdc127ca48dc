"""Recipes: the printed settings, overrides, scaling, and what is said of a wrong one."""

import pytest
import yaml

from gatebench.errors import UsageError
from gatebench.library import available
from gatebench.models import registry
from gatebench.recipe import load, parse
from gatebench.untrained import build


@pytest.mark.parametrize(
    ("name", "flops", "consistency", "target", "gamma"),
    [("aggressive", 5.0, 0.01, 0.60, -3.0), ("balanced", 3.0, 0.01, 0.70, -2.5), ("conservative", 2.5, 0.05, 0.72, -2.0)],
)
def test_table_1(name, flops, consistency, target, gamma):
    recipe = load("cosinegate", "cosinegate", name)
    budget = recipe.losses["budget"]
    assert (budget.weight, budget.target, budget.warmup_epochs) == (flops, target, 40)
    assert not budget.detached
    assert recipe.losses.keys() == {"cross_entropy", "budget", "consistency"} and recipe.losses["consistency"].weight == consistency
    assert recipe.model.options["gate"]["gamma"] == gamma and recipe.model.options["gate"]["threshold"] == 0.45
    training = recipe.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.momentum) == (160, 128, 0.1, 0.9)
    assert (training.weight_decay, training.schedule, recipe.data.name, recipe.data.augment) == (5e-4, "cosine", "cifar10", "crop-flip")


def test_the_released_notebook():
    recipe = load("cosinegate", "cosinegate", "released")
    gate, training = recipe.model.options["gate"], recipe.training
    assert (gate["gamma"], gate["learn_gamma"], gate["temperature"], gate["threshold"]) == (-2.2, True, 0.6, 0.42)
    assert (gate["noise"], gate["controller"], gate["consistency"]) == ("gumbel-sigmoid", [64, 32], "last")
    assert (training.epochs, training.schedule, training.restart_epochs, training.restart_factor) == (250, "warm-restarts", 50, 2)
    assert training.clip_gradient == 1.0 and recipe.losses["budget"].detached


def test_sign_corrected_differs_from_balanced_in_the_sign_alone():
    one, other = (load("cosinegate", "cosinegate", name).model_dump() for name in ("balanced", "sign-corrected"))
    assert other["model"]["gate"].pop("gamma") == -one["model"]["gate"].pop("gamma") == 2.5
    for recipe in (one, other):
        del recipe["name"], recipe["source"]
    assert one == other


def test_both_mnist_warmups():
    printed, scaled = (load("cosinegate", "cosinegate", name) for name in ("mnist", "mnist-scaled"))
    assert printed.training.epochs == scaled.training.epochs == 10 and printed.data.augment == "none"
    assert tuple(recipe.losses["budget"].warmup_epochs for recipe in (printed, scaled)) == (40, 2.5)


@pytest.mark.parametrize(("family", "name"), available())
def test_every_recipe_builds_its_model(family, name):
    model = next(model for model in registry.list_models() if registry.entry(model).recipes == family)
    recipe = load(family, model, name)
    assert recipe.source
    build(recipe, {})
    resolved = recipe.resolved()
    assert parse(yaml.safe_load(recipe.dump()), "its own dump") == recipe and parse(yaml.safe_load(resolved.dump()), "resolved") == resolved
    assert resolved.resolved() == resolved and resolved.digest() == parse(resolved.content(), "as plain data").digest()


@pytest.mark.parametrize("name", registry.list_models())
def test_every_model_has_a_default_recipe(name):
    entry = registry.entry(name)
    assert load(entry.recipes, name, entry.default).model.name == name


def test_another_number_of_epochs_scales_what_is_counted_in_epochs():
    recipe = load("cosinegate", "cosinegate", "released").with_epochs(25)
    assert recipe.training.epochs == 25 and recipe.training.restart_epochs == 5 and recipe.losses["budget"].warmup_epochs == 4
    assert recipe.scaled_from_epochs == 250 and recipe.training.restart_factor == 2
    assert recipe.with_epochs(50).scaled_from_epochs == 250
    assert recipe.with_epochs(25) is recipe
    exits = load("cgt", "cgt", "cifar100").with_epochs(30)
    assert exits.training.milestones == pytest.approx((25, 28, 29.5)) and exits.losses["exits"].anneal_epochs == 30


def test_a_late_penalty_scales_its_start_too():
    budget = load("cosinegate", "cosinegate", "predictive").with_epochs(15).losses["budget"]
    assert (budget.start_epoch, budget.warmup_epochs) == (1.5, 3)


def test_an_empty_group_empties_it():
    assert load("cosinegate", "cosinegate", "predictive", ["model.gate={}"]).model.options["gate"] == {}


def test_a_gate_without_its_kind_is_told_to_say_it():
    recipe = load("cosinegate", "cosinegate", "balanced", ["model.gate={}", "model.gate.gamma=-3"])
    with pytest.raises(UsageError, match="model.gate does not say which kind it is; give model.gate.kind too"):
        recipe.resolved()


@pytest.mark.parametrize(
    ("model", "config", "change", "mend"),
    [
        ("skipnet", "default", "model.gate.kind=feed-forward", "take a recipe of that kind with --config feed-forward."),
        ("skipnet", "feed-forward", "model.gate.kind=recurrent", "with --config default or hrl or resnet110 or resnet110-hrl."),
        ("fixed-blocks", "default", "model.subset={kind: decisions}", "take a recipe of that kind with --config decided."),
        ("cgt", "demo", "model.backbone.kind=resnet", "empty it first with --set model.backbone={}."),
    ],
)
def test_a_kind_beside_settings_of_another_is_answered_with_what_to_do(model, config, change, mend):
    with pytest.raises(UsageError) as refused:
        load(model, model, config, [change]).resolved()
    assert str(refused.value).startswith("--set model.") and str(refused.value).endswith(mend)
    group = change.partition("kind")[0].rstrip(".={")
    with pytest.raises(UsageError, match=f"unknown key '{group}.wrong'"):  # what the user typed is named as before
        load(model, model, config, [change, f"{group}.wrong=1"]).resolved()


def test_a_group_that_was_emptied_takes_another_kind():
    assert load("cgt", "cgt", "demo", ["model.backbone={}", "model.backbone.kind=resnet"]).resolved()


def test_overrides_and_the_hash():
    plain = load("cosinegate", "cosinegate", "balanced")
    changed = load("cosinegate", "cosinegate", "balanced", ["training.learning_rate=0.05", "model.gate.gamma=-1"])
    assert changed.training.learning_rate == 0.05 and changed.model.options["gate"]["gamma"] == -1
    assert plain.digest(threads=1) != changed.digest(threads=1) != changed.digest(threads=2)
    assert plain.digest(threads=1) == load("cosinegate", "cosinegate", "balanced").digest(threads=1)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.learning_rat=1", "unknown key 'training.learning_rat'. Did you mean 'learning_rate'.*Allowed here: epochs"),
        ("trainin.epochs=1", "unknown key 'trainin'. Did you mean 'training'"),
        ("training.schedule=cosin", "training.schedule = 'cosin' is not allowed.*'steps' or 'constant'.*Did you mean 'cosine'"),
        ("training.learning_rate=-1", "training.learning_rate = -1 is not allowed.*greater than 0"),
        ("training.batch_size=many", "training.batch_size = 'many' is not allowed.*valid integer"),
        ("training={epochs: 15}", "use --epochs"),
        ("name=a/b", "copy the recipe's file under another name"),
        ("changes=5", "gatebench records it itself"),
        ("training.epochs=15", "use --epochs, which scales along everything"),
        ("losses.budget.target=2", "losses.budget.target = 2 is not allowed.*less than or equal to 1"),
        ("losses.budget.wieght=2", "unknown key 'losses.budget.wieght'. Did you mean 'weight'.*Allowed here: weight, target"),
        ("losses.budgets.weight=2", "unknown key 'losses.budgets'. Did you mean 'budget'.*Allowed here: cross_entropy, budget"),
        ("losses.exits.weights=[1]", "unknown key 'losses.exits'.*Allowed here: cross_entropy, budget, consistency, prediction"),
        ("losses.budget=2", "losses.budget = 2 is not allowed: it is a group of settings: weight, target"),
        ("losses={}", "losses = {} is not allowed: give losses by kind"),
        ("study.budgets=[0.5]", "study: there is nothing to choose for cosinegate once it is trained; leave it out"),
        ("training", "--set wants KEY=VALUE"),
        ("training.learning_rate=.inf", "training.learning_rate = inf is not allowed"),
        ("training.epochs.more=1", "'epochs' is a value, not a group"),
    ],
)
def test_wrong_settings_are_named(override, said):
    with pytest.raises(UsageError, match=said):
        load("cosinegate", "cosinegate", "balanced", [override])


def test_a_group_is_set_one_by_one():
    recipe = load("cosinegate", "cosinegate", "balanced", ["training={learning_rate: 0.05, momentum: 0.8}"])
    assert (recipe.training.learning_rate, recipe.training.momentum, recipe.training.epochs) == (0.05, 0.8, 160)
    assert recipe.changes == ["training.learning_rate=0.05", "training.momentum=0.8"]


def test_wrong_recipe_names_and_files_are_named(tmp_path):
    with pytest.raises(UsageError, match="No recipe of cosinegate is named 'agressive'. Did you mean 'aggressive'"):
        load("cosinegate", "cosinegate", "agressive")
    with pytest.raises(UsageError, match="Cannot read recipe .*mine.yaml: No such file"):
        load("cosinegate", "cosinegate", str(tmp_path / "mine.yaml"))
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(UsageError, match="not valid YAML"):
        load("cosinegate", "cosinegate", str(tmp_path / "bad.yaml"))
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="must be a mapping"):
        load("cosinegate", "cosinegate", str(tmp_path / "list.yaml"))
