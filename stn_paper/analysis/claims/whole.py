"""Claims about the whole: abstract and conclusions."""

import pandas as pd

from .verdicts import (
    MEASURED,
    RELEASED,
    SLIGHTLY,
    Finding,
    accuracies,
    by_ours,
    by_tables,
    bypassed,
    claim,
    count,
    difference,
    measured_costs,
    trained,
)


@claim("whole", "Abstract", "with less parameters and computational overhead")
def less():
    parameters, gflops = measured_costs(9)
    fewer, more = gflops["lstn"] < gflops["stn"], parameters["lstn"] / parameters["stn"] - 1
    return Finding(
        by_ours(fewer, more < SLIGHTLY**2),
        f"The sentence states an aim, read as less overhead. L-STN takes fewer GFLOPS than STN in {count(fewer)} "
        f"networks. Its parameters are not fewer: at most {100 * more.max():.2f} % more, which counts as equal here "
        f"below {100 * SLIGHTLY**2:.0f} %.",
        f"Table 9, {MEASURED}",
    )


@claim("whole", "5", "L-STN leads in both validation and test accuracy")
def leads():
    texts, truths = [], []
    for split in ("test", "validation"):
        cells = {n: accuracies(n, split) for n in (6, 8)}
        ahead = {n: c["lstn"] > c.drop(columns="lstn").max(axis=1) for n, c in cells.items()}
        truths += ahead.values()
        texts.append(
            f"by {split} accuracy in {' and '.join(f'{count(a)} models of Table {n}' for n, a in ahead.items())}"
        )
    return Finding(
        by_tables(*truths),
        f"L-STN is ahead of all others {'; '.join(texts)}.{bypassed(6, 'lstn')}{bypassed(8, 'lstn')}",
        f"Tables 6 and 8, {RELEASED}",
    )


@claim("whole", "5", "could seamlessly replace the regular structure with instant performance boost")
def boost():
    found, printed = trained(6, "lstn", "stn"), pd.concat([difference(n, "lstn", "stn") for n in (6, 8)])
    return found._replace(
        evidence=f"{found.evidence} As printed, L-STN is better than STN in {count(printed > 0)} rows of "
        f"Tables 6 and 8, after trainings of different length.{bypassed(6, 'stn', 'lstn')}"
    )
