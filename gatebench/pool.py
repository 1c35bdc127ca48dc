"""Frozen networks that others are made of: what they take and what they answer, kept once for everything that uses them.

`pool-<data>-<hash>/` holds pool.json (the runs, and the times that were measured of them) and for each part of the data one table,
such as test.parquet: image, severity, label, and every network's logits. Another router can be replayed on these without running a
network.

Shapes: N images, P networks, C classes.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .data.images import Images
from .errors import GatebenchError, first_line
from .foreign import Unreadable, read_text
from .measure.conditions import Conditions
from .plain_data import from_json
from .runs import RunFolder

KEPT_DIGITS = 3
"""Significant digits of a stored time: it becomes a part of what a router's numbers depend on."""


@dataclass(frozen=True)
class Pool:
    """The runs of a router's experts on the router's data."""

    folder: RunFolder
    members: Mapping[str, RunFolder]
    """Finished runs by role, in the order of the recipe."""
    described: Mapping[str, Any]
    """Their data, as `Dataset.describe` says."""

    def times(self, conditions: Conditions) -> list[float] | None:
        """Stored milliseconds of each network, one input at a time, [P]; None where they were not measured under these conditions."""
        for measured in self._content["times"]:
            if conditions.match(measured):
                return [measured["latency_ms"][role] for role in self.members]
        return None

    def store_times(self, conditions: Conditions, milliseconds: Sequence[float]) -> list[float]:
        """Keep measured times [P], rounded; returns them as `times` gives them from now on."""
        rounded = [float(f"{each:.{KEPT_DIGITS}g}") for each in milliseconds]
        latency = dict(zip(self.members, rounded, strict=True))
        self._content["times"].append({**vars(conditions), "batch_size": 1, "latency_ms": latency})
        self.folder.write_json("pool.json", self._content)
        return rounded

    def has(self, part: str) -> bool:
        """Whether every network's outputs on a part are there."""
        with self._explained(part):
            path = self.folder / f"{part}.parquet"
            return self.folder.has(path.name) and set(self.members) <= set(pq.read_schema(path).names)

    def outputs(self, part: str, images: Images, answer: Callable[[str], np.ndarray]) -> np.ndarray:
        """Logits [N, P, C] of every network on a part of the data, from the part's table.

        `answer` runs the network of a role, float32 [N, C]; it is called once for each that is not in the table yet.
        """
        table = self._table(part, images)
        for role in self.members:
            if role not in table.column_names:
                logits = np.ascontiguousarray(answer(role), np.float32)
                column = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), logits.shape[1])
                table = table.append_column(role, column)
                self._keep()
                self.folder.write(f"{part}.parquet", lambda stream, table=table: pq.write_table(table, stream))
        columns = [table[role].combine_chunks().flatten().to_numpy().reshape(len(images), -1) for role in self.members]
        return np.stack(columns, 1)

    @cached_property
    def _content(self) -> dict:
        """pool.json. Raises GatebenchError where it is damaged."""
        path = self.folder / "pool.json"
        if self.folder.has(path.name):
            try:
                content = {"times": [], **from_json(read_text(path))}
                for measured in content["times"]:
                    [float(measured["latency_ms"][role]) for role in self.members]
                return content
            except (Unreadable, ValueError, KeyError, TypeError) as error:
                raise GatebenchError(f"{path} is damaged ({first_line(error)}). Remove it, and the networks are timed again.") from None
        members = {role: member.path.name for role, member in self.members.items()}
        about = {"data": self.described["name"], "data_digest": self.described["digest"], "classes": self.described["classes"]}
        return {**about, "members": members, "times": []}

    def _keep(self) -> None:
        if not self.folder.has("pool.json"):
            self.folder.write_json("pool.json", self._content)

    def _table(self, part: str, images: Images) -> pa.Table:
        """The part's table so far. Raises GatebenchError where the file is not one of these images."""
        path = self.folder / f"{part}.parquet"
        if not self.folder.has(path.name):
            columns = {"image": np.arange(len(images)) if images.source is None else images.source}
            if images.severity is not None:
                columns["severity"] = np.array(self.described["severities"])[images.severity]
            return pa.table({**columns, "label": images.labels})
        with self._explained(part):
            table = pq.read_table(path)
            if not np.array_equal(table["label"].to_numpy(), images.labels):
                raise ValueError("its labels are not those of the data")
            return table

    @contextlib.contextmanager
    def _explained(self, part: str) -> Iterator[None]:
        """Turn what is wrong with a table into a sentence."""
        try:
            yield
        except (OSError, KeyError, ValueError) as error:
            reason = first_line(error)
            raise GatebenchError(f"{self.folder / part}.parquet is damaged ({reason}). Remove it, and it is computed again.") from None


def digest(**decisive: object) -> str:
    """Eight hexadecimal digits that name a pool's folder."""
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:8]
