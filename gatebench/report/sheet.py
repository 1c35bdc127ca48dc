"""A table of the report, made once and written as CSV, Markdown, LaTeX or HTML."""

import csv
import io
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Sheet:
    """Headings and lines of texts, as they are; every format escapes them for itself."""

    name: str
    """Of its file, and its anchor on a page."""
    title: str
    headings: tuple[str, ...]
    lines: list[tuple[str, ...]]
    note: str = ""


def to_csv(sheet: Sheet) -> str:
    """With its headings; a cell that a spreadsheet would take for a formula is marked as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(sheet.headings)
    writer.writerows([_harmless(cell) for cell in line] for line in sheet.lines)
    return stream.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """With its title and note."""
    rule = "|" + "---|" * len(sheet.headings)
    rows = ["| " + " | ".join(map(escaped, cells)) + " |" for cells in (sheet.headings, *sheet.lines)]
    parts = [f"**{escaped(sheet.title)}**", "\n".join([rows[0], rule, *rows[1:]]), escaped(sheet.note)]
    return "\n\n".join(part for part in parts if part)


def to_latex(sheet: Sheet) -> str:
    """Tables with booktabs' rules, as large as the page at most; a long sheet is several."""
    widest = [max(map(len, cells)) for cells in zip(sheet.headings, *sheet.lines, strict=True)]
    columns = "".join("l" if width <= WRAPPED else r">{\raggedright\arraybackslash}p{6cm}" for width in widest)
    starts = range(0, max(1, len(sheet.lines)), LINES_OF_A_PAGE)
    parts = []
    for start in starts:
        heading, *rows = (
            " & ".join(map(_latex, cells)) + r" \\" for cells in (sheet.headings, *sheet.lines[start : start + LINES_OF_A_PAGE])
        )
        caption = _latex(sheet.title + (f". {sheet.note}" if sheet.note else "") + (" (continued)" if start else ""))
        label = rf"\label{{tab:{sheet.name}}}" if start == 0 else ""
        room = r"{max width=\textwidth, max totalheight=0.85\textheight}"
        parts += [
            r"\begin{table}", r"\centering", rf"\caption{{{caption}}}{label}", r"\begin{adjustbox}" + room,
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule", heading, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}",
            r"\end{adjustbox}", r"\end{table}", *([r"\clearpage"] if start + LINES_OF_A_PAGE < len(sheet.lines) else []),
        ]  # fmt: skip
    return "\n".join(parts)


def _harmless(cell: str) -> str:
    """Numbers may start with a sign; nothing else that starts like a formula stays one."""
    try:
        float(cell)
        return cell
    except ValueError:
        return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and len(cell) > 1 else cell


def escaped(text: str) -> str:
    """For Markdown."""
    return " ".join(text.translate(MARKDOWN).split())


def _latex(text: str) -> str:
    """What a plain LaTeX cannot set becomes a question mark."""
    return " ".join(text.split()).translate(LATEX).encode("ascii", "replace").decode() if text else ""
