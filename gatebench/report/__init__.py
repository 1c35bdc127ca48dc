"""What people look at: tables and figures of all runs.

results.py         run folders -> rows, grouped by setting; without torch, and trusting nothing
quantities.py      what tables and fronts take from rows, with intervals over seeds
claims.py          our networks' tables: claimed, executed, realised
baseline.py        a method beside the training that it is to beat
comparison.py      the papers' tables (published/) beside what was measured
front.py           accuracy against cost: the front, and the best under a budget; drawn by front_figure.py
paper_figures.py   the papers' figures from our runs
sheet.py           a table, written as CSV, Markdown, LaTeX or HTML
document.py        all of it as one report
train_table.py, latency_table.py, front_table.py   what `train`, `profile-latency` and `pareto` print
"""
