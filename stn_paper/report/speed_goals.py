"""The goals for speed: what was measured against each, and the verdict."""

import math

from ..analysis.statistics import MISSING
from ..models import HEADINGS
from ..models.backbones import title
from ..paths import AUTHORS_LOOP
from .speed import (
    GOALS,
    OURS,
    STEP,
    added_share,
    benchmark_rows,
    measurements_table,
    our_rows,
    precision_table,
)

PRECISION_WORDS = {"tf32": "at the paper protocol's precision", "bfloat16": "in bfloat16"}
MET, MISSED = "met", "missed"


def goals_table():
    """Each goal, the worst of what came out, on which machine, and whether it is met."""
    return measurements_table({i: goal for i, goal in enumerate(_goals(), 1)})


def goals_verdict():
    """How many goals are met, missed and not yet run, and what bfloat16 costs: two sentences."""
    found = _goals()
    counts = {v: sum(goal["Verdict"] == v for goal in found) for v in (MET, MISSED, MISSING)}
    text = f"Of {len(found)} goals: {', '.join(f'{n} {v}' for v, n in counts.items() if n)}."
    accuracy = precision_table().iloc[-1]
    if accuracy["Pairs"]:
        told = "bfloat16 in place of float32 changes test accuracy by {Difference} points in {Pairs} pairs: {Verdict}."
        text += f" {told.format(**accuracy)}"
    return text


def _goals():
    lines = []
    for device in GOALS["plain"]:
        steps = benchmark_rows("throughput", paper=True, device=device)
        bound = GOALS["plain"][device]
        for precision, called in PRECISION_WORDS.items():
            goal = f"at least {bound} times the authors' loop, {called}"
            lines.append(_goal_row(goal, device, _ratios_to_plain(steps, precision), least=bound))
        close = "not below timm's step: median of the ratio at least 1"
        lines.append(
            _goal_row(close, device, _ratios_to_timm(benchmark_rows("throughput", device=device)), least=1)
        )
    for device, bound in GOALS["transformer"].items():
        found = benchmark_rows(
            "transformer", what=STEP, variant="lstn", mode=OURS, device=device
        ).itertuples()
        cases = [(added_share(row.ratios)[1], title(row.backbone), row.machine) for row in found]
        lines.append(
            _goal_row(f"L-STN at most {bound:.0%} of a step", device, cases, most=bound, form="{:.1%}")
        )
    for device, bound in GOALS["data"].items():
        found = benchmark_rows("data", program="memory", device=device).itertuples()
        cases = [(1 / row.ratios[STEP][1], "from memory", row.machine) for row in found]
        lines.append(
            _goal_row(f"data path at most {bound:.0%} of a step", device, cases, most=bound, form="{:.2%}")
        )
    for command, bound in GOALS["everyday"].items():
        found = benchmark_rows("everyday", program=command, device="cpu").itertuples()
        cases = [(row.seconds if row.ended_well else math.inf, "seconds", row.machine) for row in found]
        lines.append(_goal_row(f"{command} within {bound} seconds", "cpu", cases, most=bound, form="{:.3g}"))
    return lines


def _ratios_to_plain(steps, precision):
    """(ratio, network, machine) of each network at a precision; the faster of eager and compiled counts."""
    best, ours = {}, f"ours {precision}"
    for row in our_rows(steps):
        if row.program in (ours, f"{ours} compiled"):
            name = f"{title(row.backbone)} {HEADINGS[row.variant]}", row.machine
            best[name] = max(best.get(name, 0), row.ratios[AUTHORS_LOOP][1])
    return [(ratio, *name) for name, ratio in best.items()]


def _ratios_to_timm(steps):
    """(median of the ratio to timm's step, network and mode, machine) of each of our rows."""
    return [
        (
            row.ratios[f"timm {row.mode}"][1],
            f"{title(row.backbone)} {HEADINGS[row.variant]}, {row.mode}",
            row.machine,
        )
        for row in our_rows(steps)
    ]


def _goal_row(goal, device, cases, least=-math.inf, most=math.inf, form="{:.2f}"):
    """A row of `goals_table` from the worst of the cases (value, network, machine); without cases, not yet run."""
    if not cases:
        kind = {"cpu": "a CPU", "cuda": "a GPU"}[device]
        return {"Goal": goal, "Machine": kind, "Came out": MISSING, "Verdict": MISSING}
    value, whose, machine = min(cases) if most == math.inf else max(cases)
    came_out = f"{form.format(value)} ({whose})"
    met = least <= value <= most
    return {"Goal": goal, "Machine": machine, "Came out": came_out, "Verdict": MET if met else MISSED}
