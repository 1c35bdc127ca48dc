"""Sheets as CSV, Markdown and LaTeX; every format escapes for itself."""

import csv
import io

from .flat import Flat
from .sheet import Sheet

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$",
        "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "*": "{*}",
    }
)  # fmt: skip
MARKDOWN = str.maketrans({"\\": "\\\\", "|": "\\|", "<": "&lt;", ">": "&gt;", "[": "\\[", "]": "\\]", "*": "\\*", "_": "\\_", "`": "\\`"})

WRAPPED = 45
"""Characters of a cell above which its column breaks into lines."""
LINES_OF_A_PAGE = 45


def to_csv(sheet: Sheet | Flat) -> str:
    """One number or text a cell, below the names of its `columns`; a text that a spreadsheet would run as a formula is quoted."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_harmless, sheet.columns))
    for record in sheet.records:
        writer.writerow(_csv(record.get(name, "")) for name in sheet.columns)
    return stream.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """With its title and note."""
    headings = [heading.shown for heading in sheet.headings]
    rule = "|" + "---|" * len(headings)
    rows = ["| " + " | ".join(map(escaped, cells)) + " |" for cells in (headings, *sheet.texts)]
    parts = [f"**{escaped(sheet.title)}**", "\n".join([rows[0], rule, *rows[1:]]), escaped(sheet.note)]
    return "\n\n".join(part for part in parts if part)


def to_latex(sheet: Sheet) -> str:
    """Tables with booktabs' rules, as large as the page at most; a long sheet is several."""
    headings = tuple(heading.shown for heading in sheet.headings)
    widest = [max(map(len, cells)) for cells in zip(headings, *sheet.texts, strict=True)]
    columns = "".join("l" if width <= WRAPPED else r">{\raggedright\arraybackslash}p{6cm}" for width in widest)
    starts = range(0, max(1, len(sheet.texts)), LINES_OF_A_PAGE)
    parts = []
    for start in starts:
        heading, *rows = (" & ".join(map(_latex, cells)) + r" \\" for cells in (headings, *sheet.texts[start : start + LINES_OF_A_PAGE]))
        caption = _latex(sheet.title + (f". {sheet.note}" if sheet.note else "") + (" (continued)" if start else ""))
        label = rf"\label{{tab:{sheet.name}}}" if start == 0 else ""
        room = r"{max width=\textwidth, max totalheight=0.85\textheight}"
        parts += [
            r"\begin{table}", r"\centering", rf"\caption{{{caption}}}{label}", r"\begin{adjustbox}" + room,
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule", heading, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}",
            r"\end{adjustbox}", r"\end{table}", *([r"\clearpage"] if start + LINES_OF_A_PAGE < len(sheet.texts) else []),
        ]  # fmt: skip
    return "\n".join(parts)


def _csv(value: float | str) -> str:
    if isinstance(value, str):
        return _harmless(value)
    return str(value) if isinstance(value, int) else f"{value:.10g}"


def _harmless(text: str) -> str:
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and len(text) > 1 else text


def escaped(text: str) -> str:
    """For Markdown."""
    return " ".join(text.translate(MARKDOWN).split())


def _latex(text: str) -> str:
    """What a plain LaTeX cannot set becomes a question mark."""
    return " ".join(text.split()).translate(LATEX).encode("ascii", "replace").decode() if text else ""
