"""The goals for speed, their measurements and verdicts."""

import math
from statistics import median

from ..analysis.statistics import MISSING
from ..models import HEADINGS
from ..models.backbones import title
from ..paths import AUTHORS_LOOP
from .sentences import count_text, table_or_missing
from .speed import (
    GOALS,
    OURS,
    STEP,
    added_share,
    benchmark_rows,
    our_rows,
    shares_of_peak,
    small_protocol_rows,
)

PRECISION_WORDS = {"tf32": "at the paper protocol's precision", "bfloat16": "in bfloat16"}
MET, MISSED = "met", "missed"


def goals_table():
    """The goals, a row each: the worst measurement, its machine, and whether the goal is met."""
    return table_or_missing({i: goal for i, goal in enumerate(_goals(), 1)})


def goals_verdict():
    """How much faster our step in `small` is than other loops in the worst case, and how many goals are met."""
    found = _goals()
    counts = {v: sum(goal["Verdict"] == v for goal in found) for v in (MET, MISSED, MISSING)}
    text = f"Of {len(found)} goals: {', '.join(f'{n} {v}' for v, n in counts.items() if n)}."
    return f"{_lead()}{text}"


def _lead():
    """The smallest ratios of our step in the protocol `small`, as one sentence of Markdown; "" if none is measured."""
    measured = [_small_ratios(loop) for loop in (AUTHORS_LOOP, "timm", "tuned")]
    if not all(measured):
        return ""
    plain, timm, tuned = (min(ratio for ratio, *_ in cases) for cases in measured)
    return (
        f"**In the protocol `small`, our training step is, in the worst case, {plain:.2f} times as fast as the "
        f"author's loop, {timm:.2f} times as fast as timm's step, and {tuned:.2f} times as fast as a tuned loop** "
        "(medians of the measurements). "
    )


def _goals():
    kinds = {"protocol small: ": _goals_on_a_cpu(), "GPU: ": _goals_on_a_gpu(), "": _goals_of_commands()}
    return [row | {"Goal": kind + row["Goal"]} for kind, rows in kinds.items() for row in rows]


def _goals_on_a_cpu():
    """In the protocol `small`, by the medians of its measurements."""
    plain, timm, share = (GOALS[kind]["cpu"] for kind in ("plain", "timm", "transformer"))
    lstn = small_protocol_rows("variants", variant="lstn", device="cpu")
    added = _small_cases({key: [added_share(row["ratios"])[1] for row in rows] for key, rows in lstn.items()})
    of_peak = _small_cases(shares_of_peak(device="cpu"))
    yield _goal_row(
        f"at least {plain} times the author's loop",
        "cpu",
        _small_ratios(AUTHORS_LOOP),
        least=plain,
    )
    yield _goal_row(f"at least {timm} times timm's step", "cpu", _small_ratios("timm"), least=timm)
    yield _goal_row(f"L-STN at most {share:.0%} of a step", "cpu", added, most=share, form="{:.1%}")
    for family, bound in GOALS["peak"].items():
        cases = [case for case in of_peak if case[1].startswith(family)]
        goal = f"{family} at least {bound:.0%} of the peak"
        yield _goal_row(goal, "cpu", cases, least=bound, form="{:.0%}")


def _small_ratios(loop):
    """The cases of `_small_cases` of our step's speed against another loop's, in the protocol `small`."""
    ours = small_protocol_rows(program="ours", device="cpu")
    return _small_cases({key: [row["ratios"][loop][1] for row in rows] for key, rows in ours.items()})


def _small_cases(values):
    """(median over the measurements, network, machine) of {(machine, backbone, variant): value of each measurement}."""
    return [
        (median(found), f"{title(backbone)} {HEADINGS[variant]}", machine)
        for (machine, backbone, variant), found in values.items()
    ]


def _goals_on_a_gpu():
    """At the paper's sizes."""
    plain, timm, share, path = (GOALS[kind]["cuda"] for kind in ("plain", "timm", "transformer", "data"))
    steps = benchmark_rows("throughput", device="cuda")
    for precision, called in PRECISION_WORDS.items():
        goal = f"at least {plain} times the author's loop, {called}"
        yield _goal_row(goal, "cuda", _ratios_to_plain(steps, precision), least=plain)
    yield _goal_row("at least as fast as timm's step", "cuda", _ratios_to_timm(steps), least=timm)
    found = benchmark_rows("transformer", what=STEP, variant="lstn", mode=OURS, device="cuda").itertuples()
    added = [(added_share(row.ratios)[1], title(row.backbone), row.machine) for row in found]
    yield _goal_row(f"L-STN at most {share:.0%} of a step", "cuda", added, most=share, form="{:.1%}")
    found = benchmark_rows("data", program="memory", device="cuda").itertuples()
    cases = [(1 / row.ratios[STEP][1], "from memory", row.machine) for row in found]
    yield _goal_row(f"data path at most {path:.0%} of a step", "cuda", cases, most=path, form="{:.2%}")


def _goals_of_commands():
    for command, bound in GOALS["everyday"].items():
        found = benchmark_rows("everyday", program=command, device="cpu").itertuples()
        cases = [(row.seconds if row.ended_well else math.inf, "seconds", row.machine) for row in found]
        goal = f"{command} within {count_text(bound, 'second')}"
        yield _goal_row(goal, "cpu", cases, most=bound, form="{:.3g}")


def _ratios_to_plain(steps, precision):
    """(ratio, network, machine) of each network at the paper's batch size; the faster of eager and compiled counts."""
    best, ours = {}, f"ours {precision}"
    for row in our_rows(steps):
        if row.paper and row.program in (ours, f"{ours} compiled"):
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
        return {"Goal": goal, "Machine": kind, "Measured": MISSING, "Verdict": MISSING}
    value, whose, machine = min(cases) if most == math.inf else max(cases)
    measured = f"{form.format(value)} ({whose})"
    met = least <= value <= most
    return {"Goal": goal, "Machine": machine, "Measured": measured, "Verdict": MET if met else MISSED}
