"""Comparisons by hand: cells from the scores of their test rows."""

import statistics

from qtrain_cli.methods.table import METHODS
from qtrain_cli.results.comparison import DONE, Cell, Comparison, pack_rows


def cell(method, seed, rows, budget=1000, **changes):
    given = {
        "end": DONE, "file_sha256": "a" * 64, "file_bytes": 900, "numbers": 100,
        "header_bytes": 200, "lr": 0.01, "bits": 4,
        "validation": 0.9, "test": statistics.fmean(rows), "rows": pack_rows(rows), **changes,
    }  # fmt: skip
    return Cell(method, budget, seed, **given)


def comparison(cells, task="classification", budgets=(1000,)):
    names = dict.fromkeys(one.method for one in cells)
    seeds = tuple(sorted({one.seed for one in cells}))
    return Comparison(
        "net.pt",
        task,
        0.99,
        4,
        5000,
        10,
        seeds,
        budgets,
        tuple(METHODS[name] for name in names),
        tuple(cells),
    )
