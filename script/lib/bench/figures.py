"""Figures of several rounds, and the table that shows them."""

import dataclasses
import statistics


@dataclasses.dataclass
class Row:
    """What was measured, a figure a round."""

    what: str
    unit: str
    figures: list
    # Cores that the service took, MiB that it had at most, and how its figure compares with the reference of the same round.
    shares: list = dataclasses.field(default_factory=list)
    memory: list = dataclasses.field(default_factory=list)
    ratios: list = dataclasses.field(default_factory=list)
    digits: int = 0


HEAD = ("what", "median (spread)", "cores taken", "MiB at most", "of the reference")


def table(rows):
    """Prints each row as soon as it is there."""
    print(line(HEAD))
    print(line(["---"] * len(HEAD)))
    for row in rows:
        cells = (row.what, spread(row), median(row.shares, 2), most(row.memory), median(row.ratios, 2))
        print(line(cells), flush=True)


def line(cells):
    return f"| {' | '.join(cells)} |"


def spread(row):
    low, middle, high = (f"{one:,.{row.digits}f}" for one in
                         (min(row.figures), statistics.median(row.figures), max(row.figures)))
    return f"{middle} {row.unit} ({low} to {high})"


def median(figures, digits):
    return f"{statistics.median(figures):.{digits}f}" if figures else ""


def most(figures):
    return f"{max(figures):.0f}" if figures else ""
