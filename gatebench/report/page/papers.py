"""Published beside measured, as pairs on one axis: from the same tables that the report prints."""

import re
from collections import Counter, defaultdict

from ...foreign import plain
from ..sheet import Sheet
from .numbers import rounded

QUANTITIES = ("accuracy|F1", "skip|saved|FLOPs")
"""Of each table the first column, in percent or points, whose heading has one of these, as it stands at the end of training."""
MOST_OF_ROW = 3
"""Networks of ours beside one published row."""


def drawn(sheets: list[Sheet]) -> list[dict]:
    """For each paper its pairs and, apart, why some do not compare; papers in which nothing was measured are left out."""
    papers: dict[str, list[dict]] = defaultdict(list)
    for sheet in sheets:
        paper, _, table = sheet.title.partition(", ")
        papers[paper] += _pairs(sheet, table.partition(":")[0])
    return [_paper(name, pairs) for name, pairs in papers.items() if pairs]


def _paper(name: str, pairs: list[dict]) -> dict:
    reasons = Counter(pair["reason"] for pair in pairs if "reason" in pair)
    compared = [pair for pair in pairs if "reason" not in pair]
    close = sum(pair["low"] <= pair["published"] <= pair["high"] for pair in compared)
    if compared:
        message = f"{len(compared)} of {len(pairs)} pairs compare; in {close} the published value lies within our interval"
    else:
        message = "nothing compares yet; all pairs are grey"
    return {"name": name, "message": message, "pairs": pairs, "reasons": [[text, count] for text, count in reasons.most_common()]}


def _pairs(sheet: Sheet, table: str) -> list[dict]:
    """Of an accuracy and a saving, where our rows have them."""
    records = sheet.records
    ours = [record for record in records if record["source"] == "measured"]
    names = {heading.name: heading.text for heading in sheet.headings if "%" in heading.text or "points" in heading.text}
    measured = {name for record in ours for name in record}
    names = {name: text for name, text in names.items() if name in measured and not re.search("peak|epoch", name)}
    chosen = [next((name for name, text in names.items() if re.search(wanted, text)), None) for wanted in QUANTITIES]
    chosen = [name for name in dict.fromkeys(chosen) if name]
    several = Counter(record["row"] for record in ours)
    pairs, published, shown = [], {}, Counter()
    for record in records:
        if record["source"] == "published":
            published = record
        if record["source"] != "measured" or shown[record["row"]] >= MOST_OF_ROW:
            continue
        shown[record["row"]] += 1
        label = ", ".join([record["network"] if several[record["row"]] > 1 else record["row"], table])
        pairs += [_pair(label, names[name], name, published, record) for name in chosen if name in published and name in record]
    return pairs


def _pair(label: str, quantity: str, name: str, published: dict, record: dict) -> dict:
    reason = record.get("comparable", "yes")
    value = rounded(record[name])
    pair = {
        "label": plain(label), "quantity": quantity, "published": rounded(published[name]), "ours": value,
        "low": rounded(record.get(f"{name}_low", value)), "high": rounded(record.get(f"{name}_high", value)),
        "row": plain(published["row"]), "network": plain(f"{record.get('network', '')} on {record.get('data', '')}"),
    }  # fmt: skip
    return pair if reason == "yes" else {**pair, "reason": plain(reason.removeprefix("no: "))}
