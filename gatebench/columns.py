"""The row: every column of `rows.jsonl`, with its unit and meaning. One line of that file is one measured operating point.

A column that is absent was not measured; it never stands at 0 for that reason. Nothing here imports torch.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "texts", "numbers", "numbers or none", "flag"]


@dataclass(frozen=True)
class Column:
    """What stands under one name; `interval`: the ends of its 95 % interval stand under two more."""

    name: str
    kind: Kind
    meaning: str
    interval: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *(self.interval or ()))


def _with_interval(name: str, meaning: str, stem: str | None = None) -> Column:
    return Column(name, "number", meaning, (f"{stem or name}_low", f"{stem or name}_high"))


NETWORK = (
    Column("model", "text", "registered name"),
    Column("recipe", "text", "name of the recipe"),
    Column("changes", "texts", "what --set and --dataset changed of it"),
    Column("digest", "text", "of the resolved recipe and the data: runs that agree in it differ in the seed"),
    Column("seed", "number", "of weights, batches and noise"),
    Column("epochs", "number", "trained"),
    Column("recipe_epochs", "number", "the recipe's own"),
    Column("schedule", "text", "of the learning rate, and its highest"),
    Column("params", "number", "weights and biases"),
    Column("policy", "text", "how it decides, where that was chosen after training: rule and way"),
    Column("tradeoff", "number", "the budget it was chosen for: share of the static twin's MACs (exits)"),
    Column("thresholds", "numbers or none", "of every exit but the last; none: nothing leaves there"),
    Column("temperatures", "numbers", "that every exit's logits are divided by before they are scored; absent: none are"),
    Column("parents", "texts", "folders of the runs whose weights it started from"),
)
"""What it is."""

PLACE = (
    Column("dataset", "text", "name of the data set"),
    Column("device", "text", "cpu or cuda"),
    Column("machine", "text", "processor and cores; a GPU before them"),
    Column("threads", "number", "of the CPU, torch's"),
    Column("batch_size", "number", "inputs of a call"),
    Column("precision", "text", "fp32 or bf16"),
    Column("execution", "text", "sparse, masked, or itself for a network that decides nothing"),
    Column("runtime", "text", "what runs it: torch, or torch with CUDA graphs"),
)
"""Where and how it ran."""

SCORES = (
    Column("split", "text", "the part that was scored: test or validation"),
    Column("severity", "text", "of the corruption of the scored inputs; absent: all of them"),
    _with_interval("accuracy", "%, last epoch; Wilson's interval"),
    Column("accuracy_peak", "number", "%, of the best epoch on the scored part, beside the last"),
    Column("peak_epoch", "number", "that epoch"),
    Column("f1", "number", "%, macro"),
    Column("precision_macro", "number", "%"),
    Column("recall_macro", "number", "%"),
    Column("mean_gate_soft", "number", "mean over inputs and switches of sigmoid(logit) (CosineGate, Eq. 17)"),
    Column("mean_gate_hard", "number", "mean of the decisions (Eq. 16)"),
    Column("skip_pct", "number", "%, the saving that the decisions claim"),
    Column("shares", "numbers", "of the inputs, that leave at each exit"),
    Column("macs_dense", "number", "multiply-accumulates of an input through the static twin"),
    Column("macs_gate", "number", "spent only in order to decide, outside the units"),
    Column("macs_decided", "number", "that the decisions ask for"),
    Column("adaptivity_gain_same_weights", "number", "points of accuracy over fixed decisions of the same weights at the same MACs"),
    Column("overthinking_pct", "number", "%, inputs that an exit gets right and the last one wrong"),
)
"""How good it is, and what it decides, on all inputs of the part."""

EXECUTED = (
    Column("macs_executed", "number", "of an input, by the executor, in batches of `batch_size`"),
    Column("macs_ratio", "number", "macs_executed over macs_dense"),
    Column("audit", "texts", "findings, each its kind, a colon and the particulars"),
    Column("oracle_accuracy", "number", "%, of leaving at the first exit that is right"),
    Column("oracle_macs", "number", "of leaving there"),
    Column("calibration_error_pct", "numbers", "%, expected calibration error of each exit, at its temperature"),
    Column("training_seconds", "number", "over all sittings"),
    Column("peak_memory_mb", "number", "most memory of the process"),
)
"""What the run itself executed and found."""

TIMES = (
    Column("network", "text", "as tables name it"),
    Column("rival", "text", "what speedup, realised and timed_saving_pct are over"),
    Column("batch_norm_folded", "flag", "whether batch norm was folded into what stands beside it"),
    Column("calls", "number", "timed in every round: inputs at batch 1, batches otherwise"),
    Column("rounds", "number", "timed"),
    Column("noisy_rounds", "number", "of them in which the machine was slow"),
    Column("session_seconds", "number", "of the session, all its networks together"),
    Column("timed_claimed_pct", "number", "%, claimed on the inputs that were timed"),
    Column("timed_macs_executed", "number", "of an input, on them"),
    Column("timed_saving_pct", "number", "%, of the rival's MACs that were not executed, on them"),
    _with_interval("latency_ms", "of a call: mean over calls of the median over rounds", "latency"),
    *(_with_interval(f"latency_p{rank}", f"ms, percentile {rank} over calls") for rank in (50, 90, 99)),
    _with_interval("energy_mj", "of a call, of the whole device (`measure.energy`)", "energy"),
    _with_interval("speedup", "times as fast as the rival, from pairs"),
    _with_interval("realised", "(1 - time / rival's) / (1 - executed MACs / rival's)"),
    Column("spread_inputs", "number", "standard deviation between inputs, share of the time"),
    Column("spread_rounds", "number", "between rounds"),
    Column("spread_rest", "number", "of what is neither"),
    Column("repeats_needed", "number", "rounds that would tell the speed-up from 1, where these did not"),
    Column("inputs_needed", "number", "inputs that would"),
    Column("inputs_available", "number", "inputs there are"),
    _with_interval("gate_price", "time with own decisions over that with the same imposed"),
    Column("gate_ms", "number", "their difference, ms a call"),
    _with_interval("all_on", "time with the gates asked and everything on, over the twin's"),
    _with_interval("all_off", "and everything off"),
    Column("break_even_skip_pct", "number", "%, claimed saving from which on the gates have paid"),
    Column("cost_base_ms", "number", "time = base + sum of unit costs x decisions"),
    Column("cost_units_ms", "numbers or none", "of each unit; none where another stands for it"),
    Column("cost_r2", "number", "of that model, by leaving one call out"),
)
"""How long it took: rows with these describe the network and its place too, and its scores where it was timed on the scored inputs."""

COLUMNS = (*NETWORK, *PLACE, *SCORES, *EXECUTED, *TIMES)
KINDS: dict[str, Kind] = {name: column.kind for column in COLUMNS for name in column.names}
"""Of every name, those of intervals included."""


def names(columns: tuple[Column, ...]) -> tuple[str, ...]:
    """All names of some columns."""
    return tuple(name for column in columns for name in column.names)
