"""The row: one measured operating point, or one timing of it. Every column has its unit, meaning and bounds here.

A column that is absent was not measured; it is never 0 for that reason. Nothing here imports torch.

`Row` is a line of rows.jsonl, `TimeRow` one of times/*.jsonl. A family declares further columns of its own as `Column`s beside its code;
a run folder carries those in columns.json, so that reports show them without importing the method.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .settings import Part

LEAST = 1e-9
"""Of MACs, milliseconds and millijoules that are not 0: less was not measured."""


def _measurable(value: float) -> float:
    """The same value. Raises ValueError where it is too small to divide by."""
    if 0 < value < LEAST:
        raise ValueError(f"it should be {LEAST:g} at least")
    return value


Percent = Annotated[float, Field(ge=0, le=100)]
Positive = Annotated[float, Field(gt=0, le=1e30), AfterValidator(_measurable)]
NotNegative = Annotated[float, Field(ge=0, le=1e30), AfterValidator(_measurable)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
Text = Annotated[str, Field(max_length=500)]
Texts = Annotated[list[Text], Field(max_length=100)]
Findings = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=100)]
Numbers = Annotated[list[float | None], Field(max_length=5000)]
Kind = Literal["text", "number", "texts", "numbers", "flag"]


class Column(Part):
    """A column: its kind, unit, meaning, and how tables show it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    kind: Kind
    """"numbers" may hold null: none there."""
    meaning: Text
    unit: Text = ""
    """Of the stored number. Shares are stored as shares; tables show them as percent where the unit is "share"."""
    heading: Text = ""
    """Of tables, without the unit. Empty: no table shows it."""
    digits: Annotated[int, Field(ge=0, le=9)] | None = 2
    """Decimals in tables. None: up to six significant digits, as 1e-05."""
    signed: bool = False
    """Whether tables show a plus sign."""
    of_run: bool = False
    """Whether it is the same for every operating point of a run."""
    names_policy: bool = False
    """Whether it is the policy in other words: tables then have a line for each policy, not for the headline's alone."""

    @property
    def interval(self) -> tuple[str, str]:
        """Columns that hold the ends of the 95 % interval, where one was measured: latency_ms has latency_ms_low and latency_ms_high."""
        return f"{self.name}_low", f"{self.name}_high"


TRADEOFF = Column(name="tradeoff", kind="number", heading="trade-off", digits=3, meaning="value of the setting that the recipe names")
"""Of a family that does not say what its trade-off is."""
BUDGET = Column(
    name="tradeoff", kind="number", heading="budget", unit="share", digits=0, meaning="share of the static twin's MACs that is kept to"
)
"""What the trade-off is in run folders that do not declare it."""


def _column(meaning: str, unit: str = "", *, required: bool = False, **bounds) -> Any:
    return Field(... if required else None, description=meaning, json_schema_extra={"unit": unit} if unit else None, **bounds)


class _Columns(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class Network(_Columns):
    """What was measured."""

    model: Text = _column("registered name", required=True)
    recipe: Text = _column("name of the recipe", required=True)
    changes: Texts | None = _column("what --set and --dataset changed of it")
    digest: Text = _column("of the resolved recipe, data and parents; runs that agree in it differ only in seed and place", required=True)
    seed: int = _column("of weights, batches and noise", required=True)
    epochs: Count = _column("trained", required=True)
    recipe_epochs: Count | None = _column("the recipe's own")
    schedule: Text | None = _column("of the learning rate, and its highest value")
    params: Count | None = _column("weights and biases")
    adaptive: bool | None = _column("whether it has gates; a static network, and one that was cut once and for all, has none")
    policy: Text | None = _column("how it decides, where that was chosen after training: a rule, a comma, how its settings were chosen")
    tradeoff: float | None = _column("value of the setting that trades accuracy against cost; columns.json says which")
    parents: Texts | None = _column("folders of the runs it was made from")
    weights: Text | None = _column("beginning of the SHA-256 of model.safetensors; times are of these weights and thresholds alone")


class Place(_Columns):
    """Where and how it ran."""

    dataset: Text = _column("name of the data set", required=True)
    data_digest: Text | None = _column("of pixels, labels, split, statistics and flips")
    device: Text | None = _column("cpu or cuda")
    machine: Text | None = _column("processor, cores and widest instructions; a GPU before them")
    threads: Count | None = _column("CPU threads of torch")
    batch_size: Count | None = _column("inputs of a call")
    precision: Text | None = _column("fp32, bf16 or int8")
    execution: Text | None = _column("sparse, masked, or itself for a network that decides nothing")
    runtime: Text | None = _column(
        "what runs it: torch (with CUDA graphs, or not), compile, onnxruntime, openvino, and its precision where that is not fp32"
    )


class Row(Network, Place):
    """One operating point of a finished run, or a reference that stands beside all of them."""

    split: Text = _column("the part that was scored: test or validation", required=True)
    severity: Text | None = _column("of the corruption of the scored inputs; absent: all of them")
    reference: Text | None = _column("what the operating points are compared with, such as an expert alone; absent: it is one of them")
    accuracy: Percent = _column("of the last epoch's weights at this operating point", "%", required=True)
    accuracy_low: Percent = _column("Wilson's 95 % interval", "%", required=True)
    accuracy_high: Percent = _column("Wilson's 95 % interval", "%", required=True)
    majority_pct: Percent | None = _column("share of the scored part's most frequent class: accuracy of answering nothing else", "%")
    accuracy_peak: Percent | None = _column("of the best epoch on the scored part", "%")
    peak_epoch: Count | None = _column("that epoch")
    f1: Percent | None = _column("macro", "%")
    precision_macro: Percent | None = _column("macro", "%")
    recall_macro: Percent | None = _column("macro", "%")
    mean_gate_soft: Share | None = _column("mean of sigmoid(logit) over inputs and switches (CosineGate, Eq. 17)")
    mean_gate_hard: Share | None = _column("mean of the decisions (CosineGate, Eq. 16)")
    skip_pct: float | None = _column("saving that the decisions claim, by the paper's own proxy", "%")
    shares: Numbers | None = _column("of the inputs, that went to each destination: left at an exit, ran an expert", "share")
    share_names: Texts | None = _column("the destinations")
    macs_dense: Positive | None = _column("of an input through the static twin", "MACs")
    macs_gate: NotNegative | None = _column("spent only in order to decide, outside the units", "MACs")
    macs_decided: NotNegative | None = _column("that the decisions ask for", "MACs")
    macs_executed: NotNegative = _column("of an input, by the executor, in batches of `batch_size`", "MACs", required=True)
    macs_ratio: float | None = _column("macs_executed / macs_dense", "share")
    params_used: Count | None = _column("weights of switches that are ever on over the scored inputs")
    adaptivity_gain: float | None = _column("accuracy over that of fixed decisions, same weights, same MACs", "points")
    adaptivity_gain_low: float | None = _column("95 % interval, over the scored inputs", "points")
    adaptivity_gain_high: float | None = _column("95 % interval, over the scored inputs", "points")
    fixed_accuracy: Percent | None = _column("of the best fixed decisions that cost no more than the network's own, same weights", "%")
    fixed_macs: NotNegative | None = _column("of an input under these; deciding costs them nothing", "MACs")
    fixed_chosen_on: Literal["validation", "train"] | None = _column("the part on which fixed decisions were chosen")
    patterns: Count | None = _column("different decisions over the scored inputs")
    pattern_entropy: NotNegative | None = _column("of the decisions over the scored inputs; 0: always the same", "bits")
    matching_gain: float | None = _column("accuracy over that with every input's decisions given to another input", "points")
    matching_gain_low: float | None = _column("95 % interval, over the scored inputs", "points")
    matching_gain_high: float | None = _column("95 % interval, over the scored inputs", "points")
    loss_correlation: Correlation | None = _column("rank correlation of an input's MACs and its cross-entropy in the static twin")
    difficulty_correlation: Correlation | None = _column("rank correlation of an input's MACs and its known difficulty")
    audit: Findings | None = _column("findings: kind, colon, particulars")
    training_seconds: float | None = _column("over all sittings", "s")
    peak_memory_mb: float | None = _column("most memory of the process", "MB")
    adaptive: bool = _column("whether it has gates; a static network, and one that was cut once and for all, has none", required=True)

    @model_validator(mode="after")
    def _each_share_has_a_name(self) -> "Row":
        shares, names = len(self.shares or ()), len(self.share_names or ())
        if shares != names:
            raise ValueError(f"there are {shares} shares and {names} share_names")
        return self


class TimeRow(Network, Place):
    """One timing: a network, an execution, a batch size, a machine. Holds no score: accuracy is in the operating point it names.

    A network that comes from no run has no model, recipe, digest, seed and epochs.
    """

    model: Text | None = _column("registered name")
    recipe: Text | None = _column("name of the recipe")
    digest: Text | None = _column("of the run's resolved recipe, data and parents")
    seed: int | None = _column("of weights, batches and noise")
    epochs: Count | None = _column("trained")
    network: Text = _column("as tables name it", required=True)
    rival: Text | None = _column("what speedup, realised and timed_saving_pct are over")
    vs: bool | None = _column("whether --vs named the rival; absent: it is the network's own reference")
    when: Text | None = _column("start of the session, UTC")
    interrupted: bool | None = _column("whether the session was broken off")
    scored_inputs: bool | None = _column("whether it was timed on inputs that the run's scores are of")
    layout: Text | None = _column("of weights and inputs: channels_last or contiguous")
    batch_norm_folded: bool | None = _column("whether batch norm was folded into what stands beside it")
    calls: Count = _column("timed in every round: inputs at batch 1, batches otherwise", required=True)
    rounds: Count = _column("timed", required=True)
    noisy_rounds: Count = _column("rounds in which the machine was slow, or calls waited", required=True)
    waited_pct: Percent | None = _column("share of wall time in which the timed calls did not compute", "%")
    busy: bool | None = _column("whether calls of the session waited for other work of the machine, for more than a twentieth of the time")
    session_seconds: float | None = _column("of the session, all its networks together", "s")
    timed_claimed_pct: float | None = _column("claimed on the inputs that were timed", "%")
    timed_macs_executed: float | None = _column("of an input, on the timed inputs; absent: not counted", "MACs")
    timed_macs_least: float | None = _column("of the timed call with fewest, mean of its inputs", "MACs")
    timed_macs_most: float | None = _column("of the timed call with most, mean of its inputs", "MACs")
    timed_macs_sd: float | None = _column("of the mean from one count to the next, where it answers differently to the same input", "MACs")
    timed_audit: Findings | None = _column("findings: kind, colon, particulars")
    seen_before: bool | None = _column("whether its times are of inputs that it has seen before: it keeps what it computed for them")
    uncounted: Texts | None = _column("operations that it runs and whose MACs are not known, so that its executed MACs are not counted")
    rival_uncounted: Texts | None = _column("such operations of the rival")
    timed_saving_pct: float | None = _column("of the rival's MACs that were not executed, on the timed inputs", "%")
    latency_ms: Positive = _column("of a call: mean over calls of the median over rounds", "ms", required=True)
    latency_ms_low: Positive | None = _column("95 % interval", "ms")
    latency_ms_high: Positive | None = _column("95 % interval", "ms")
    latency_quantiles_ms: Numbers | None = _column("of calls: fastest, one in twenty as fast or faster, and so on, slowest", "ms")
    rival_ms: Positive | None = _column("of a call of the rival, as latency_ms", "ms")
    rival_ms_low: Positive | None = _column("95 % interval", "ms")
    rival_ms_high: Positive | None = _column("95 % interval", "ms")
    rival_quantiles_ms: Numbers | None = _column("of the rival's calls, as latency_quantiles_ms", "ms")
    latency_p50: Positive | None = _column("median over calls", "ms")
    latency_p50_low: Positive | None = _column("95 % interval", "ms")
    latency_p50_high: Positive | None = _column("95 % interval", "ms")
    latency_p90: Positive | None = _column("90th percentile over calls", "ms")
    latency_p90_low: Positive | None = _column("95 % interval", "ms")
    latency_p90_high: Positive | None = _column("95 % interval", "ms")
    latency_p99: Positive | None = _column("99th percentile over calls", "ms")
    latency_p99_low: Positive | None = _column("95 % interval", "ms")
    latency_p99_high: Positive | None = _column("95 % interval", "ms")
    energy_mj: Positive | None = _column("of a call, of the whole device", "mJ")
    energy_mj_low: float | None = _column("95 % interval", "mJ")
    energy_mj_high: float | None = _column("95 % interval", "mJ")
    speedup: Positive | None = _column("times as fast as the rival, from pairs")
    speedup_low: Positive | None = _column("95 % interval")
    speedup_high: Positive | None = _column("95 % interval")
    rival_fastest: Text | None = _column("runtime in which the rival is fastest, where it was timed in several")
    rival_fastest_ms: Positive | None = _column("of a call of the rival in that", "ms")
    rival_fastest_ms_low: Positive | None = _column("95 % interval", "ms")
    rival_fastest_ms_high: Positive | None = _column("95 % interval", "ms")
    speedup_fastest: Positive | None = _column("times as fast as the rival in its fastest runtime, from pairs")
    speedup_fastest_low: Positive | None = _column("95 % interval")
    speedup_fastest_high: Positive | None = _column("95 % interval")
    realised: float | None = _column("(1 - time / rival's) / (1 - executed MACs / rival's)")
    realised_low: float | None = _column("95 % interval")
    realised_high: float | None = _column("95 % interval")
    dispatch_efficiency: float | None = _column("summed times of its parts, each alone on what reaches it, over its own time")
    dispatch_efficiency_low: float | None = _column("95 % interval")
    dispatch_efficiency_high: float | None = _column("95 % interval")
    spread_inputs: float | None = _column("standard deviation between inputs", "share")
    spread_rounds: float | None = _column("between rounds", "share")
    spread_rest: float | None = _column("of what is neither", "share")
    repeats_needed: int | None = _column("rounds that would settle an inconclusive speed-up")
    inputs_needed: int | None = _column("inputs that would settle it")
    inputs_available: int | None = _column("inputs there are")
    gate_price: Positive | None = _column("time with own decisions over time with the same decisions imposed")
    gate_price_low: Positive | None = _column("95 % interval")
    gate_price_high: Positive | None = _column("95 % interval")
    gate_ms: float | None = _column("their difference", "ms")
    all_on: Positive | None = _column("time with the gates evaluated and everything on, over the twin's")
    all_on_low: Positive | None = _column("95 % interval")
    all_on_high: Positive | None = _column("95 % interval")
    all_off: Positive | None = _column("time with the gates evaluated and everything off, over the twin's")
    all_off_low: Positive | None = _column("95 % interval")
    all_off_high: Positive | None = _column("95 % interval")
    break_even_skip_pct: float | None = _column("claimed saving from which on the gates have paid for themselves", "%")
    cost_base_ms: float | None = _column("time = base + sum of unit costs x decisions", "ms")
    cost_units_ms: Numbers | None = _column("of each unit; null: collinear with another unit", "ms")
    cost_r2: float | None = _column("of that model, by leaving one call out")

    @model_validator(mode="before")
    @classmethod
    def _without_scores(cls, content: Any) -> Any:
        """Raises ValueError where there is a score."""
        scores = sorted(SCORES & content.keys()) if isinstance(content, dict) else []
        if scores:
            raise ValueError(f"a row of times holds no scores, such as {scores[0]}; they are in the operating point")
        return content


SCORES = frozenset(Row.model_fields) - frozenset(TimeRow.model_fields)
"""Names of the columns that only an operating point has."""
NETWORK = frozenset(Network.model_fields)
"""Names of the columns that say what was measured; rows of times copy them from the run."""
