"""What people look at: tables and figures of all runs. Nothing here imports torch.

reading.py         files of run folders, within bounds
results.py         run folders -> rows, trusting nothing
groups.py          rows that differ in the seed alone, together
quantities.py      what tables and fronts take from rows, with intervals over seeds
sheet.py           a table of typed cells; formats.py writes it as CSV, Markdown or LaTeX, terminal.py prints it
declared.py        columns that a family declares, as tables show them
claims.py          our networks' tables: claimed, executed, realised
baseline.py        a method beside the training that it is to beat
comparison.py      the papers' tables (published/) beside what was measured
front.py           accuracy against cost: the front, and the best under a budget; said by front_words.py, drawn by front_figure.py
paper_figures.py   the papers' figures from our runs
run_pictures.py    pictures of single runs; drawn by run_figures.py
document.py        all of it as one report
flat.py            every operating point and every timing as tables for programs
check.py           whether run folders hold together, rule by rule; evidence.py reads what rules compare
train_table.py, latency_table.py, front_table.py   what `train`, `profile-latency` and `pareto` print
"""
