"""Claims about the whole: abstract and conclusions."""

import pandas as pd

from .verdicts import (
    COSTS_FILE,
    RELEASE_FILE,
    Finding,
    by_ours,
    by_tables,
    bypassed_note,
    claim,
    count_true,
    judge_by_runs,
    measured_costs,
    printed_accuracies,
    printed_gains,
)


@claim("whole", "Abstract", "with less parameters and computational overhead")
def less():
    parameters, gflops = measured_costs(9)
    fewer, more = gflops["lstn"] < gflops["stn"], parameters["lstn"] / parameters["stn"] - 1
    return Finding(
        by_ours(fewer, more < 0),
        f"L-STN takes fewer GFLOPS than STN in {count_true(fewer)} networks, and has fewer parameters in "
        f"{count_true(more < 0)}: it has up to {100 * more.max():.2f} % more. The abstract states this as an aim; "
        "section 5 says “slightly more parameters”.",
        f"Table 9, {COSTS_FILE}",
    )


@claim("whole", "5", "L-STN leads in both validation and test accuracy")
def leads():
    texts, truths = [], []
    for split in ("test", "validation"):
        cells = {n: printed_accuracies(n, split) for n in (6, 8)}
        ahead = {n: c["lstn"] > c.drop(columns="lstn").max(axis=1) for n, c in cells.items()}
        truths += ahead.values()
        texts.append(
            f"by {split} accuracy in {' and '.join(f'{count_true(a)} models of Table {n}' for n, a in ahead.items())}"
        )
    return Finding(
        by_tables(*truths),
        f"L-STN has a higher accuracy than all other columns {'; '.join(texts)} (one printed validation accuracy is a "
        f"misprint, see the claim on DenseNet-121).{bypassed_note(6, 'lstn')}"
        f"{bypassed_note(8, 'lstn')}",
        f"Tables 6 and 8, {RELEASE_FILE}",
    )


@claim("whole", "5", "could seamlessly replace the regular structure with instant performance boost")
def boost():
    found, printed = (
        judge_by_runs(6, "lstn", "stn"),
        pd.concat([printed_gains(n, "lstn", "stn") for n in (6, 8)]),
    )
    return found._replace(
        evidence=f"{found.evidence} In the paper, L-STN has a higher test accuracy than STN in "
        f"{count_true(printed > 0)} rows of "
        f"Tables 6 and 8, after trainings of different length.{bypassed_note(6, 'stn', 'lstn')}"
        f"{bypassed_note(8, 'stn', 'lstn')}"
    )
