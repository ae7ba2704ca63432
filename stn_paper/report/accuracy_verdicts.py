"""Sentences of the pages of Tables 4, 6 and 8; the numbers are those of `analysis.accuracy`."""

from ..analysis import accuracy, statistics
from ..analysis.accuracy import ESTIMATED_PROTOCOL, WELL_ABOVE_98
from ..analysis.effects import rows_of_pair
from ..analysis.estimates import is_gpu
from ..analysis.paper import networks
from ..analysis.statistics import NO_NUMBER
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..training.presets import PAPER_SIZE, SMALL_IN_FLOAT32
from ..training.protocol import BEST_VALIDATION, LAST_EPOCH
from .sentences import count_text, join_words

FALL = 10.0  # points of validation accuracy; a page names runs that lose as many
RULE_WORDS = {LAST_EPOCH: "the last epoch", BEST_VALIDATION: "the epoch of the best validation accuracy"}


def protocols_in_words(number):
    """Return the settings of our runs, as Markdown.

    The settings of the most backbones come first. Backbones with other settings follow by name.
    """
    cells = accuracy.cells(number)
    cells = cells[cells["n"] > 0]
    if cells.empty:
        return f"Ours: no network has a run yet ({NO_NUMBER})."
    kinds = [
        (
            _settings_in_words(part),
            " in float32" if protocol == SMALL_IN_FLOAT32 else "",
            list(map(title, part["backbone"].unique())),
        )
        for protocol, part in cells.groupby("protocol", sort=False)
    ]
    (settings, precision, _), *others = sorted(kinds, key=lambda kind: -len(kind[2]))
    texts = [settings + precision]
    for other_settings, precision, names in others:
        own = (
            (precision or " in bfloat16") if other_settings == settings else f": {other_settings}{precision}"
        )
        texts.append(join_words(names) + own)
    if number == 4 and cells["distinct_n"].any():
        protocol = cells.loc[cells["distinct_n"] > 0, "protocol"].iloc[0]
        distinct = accuracy.runs_with_copy_accuracy(accuracy.DISTINCT, protocol).iloc[0]
        texts.append(f"“distinct”: {_length_in_words(distinct)}")
    return f"**Ours: {'; '.join(texts)}.**"


def _settings_in_words(cells):
    """Image size, epochs, training images and selection rule of cells of one protocol."""
    first, low, high = cells.iloc[0], cells["image_size"].min(), cells["image_size"].max()
    pixels = f"{low:.0f}-pixel images" if low == high else f"images of {low:.0f} to {high:.0f} pixels"
    rule = RULE_WORDS.get(first["selection"], "the best of five epochs")
    return f"{pixels}, {_length_in_words(first)}, test accuracy at {rule}"


def _length_in_words(cell):
    """How long a cell or run was trained, as text: "10 epochs of 4,000 training images"."""
    images = f" of {cell['train_images']:,.0f} training images" if cell["train_images"] else ""
    return f"{cell['epochs']:.0f} epochs{images}"


def coverage_in_words(number):
    """How many cells have a run, how many lack a run at the paper's image size, and the missing hours, in words."""
    counts = accuracy.count_missing(number)
    coverage = f"{_cells_with_a_run(counts['with_run'], counts['cells'])} of ours."
    if not counts["lacking"]:
        return f"{coverage} All cells have a run at the paper's image size."
    hours, device = counts["hours"], counts["device"]
    effort = "what they would cost is not known, as no run has been measured"
    if hours is not None:
        unit = "GPU hours" if is_gpu(device) else "hours"
        digits = f"{hours:,.0f}" if hours >= 2 else f"{hours:.1f}"
        effort = (
            f"one seed of each would take about {digits} {unit} on one {device}, by the speed of our "
            "records, also those of other networks"
        )
    lacking = f"all {counts['cells']}" if counts["lacking"] == counts["cells"] else f"{counts['lacking']}"
    size = f"At the paper's image size (protocol `{ESTIMATED_PROTOCOL}`)"
    return f"{coverage} {size} {lacking} are missing; {effort}."


def _cells_with_a_run(number, cells):
    return f"{number} of {cells} cells {'has' if number == 1 else 'have'} a run"


def smallest_p(number):
    """The smallest p that a sign test can give over all backbones of a table, and over those of our runs, in words."""
    backbones, tests = networks(number)["backbone"].nunique(), len(accuracy.COMPARISONS)
    smallest = statistics.sign_test(backbones, 0)
    adjusted = min(1.0, tests * smallest)
    means = (
        "counts alone cannot show a gain, but the interval of the mean can"
        if adjusted >= statistics.LEVEL
        else "counts show a gain only if no backbone is behind"
    )
    ours = int(accuracy.replication(number)["backbones"].max())
    of_ours = (
        f" Over our {count_text(ours, 'backbone')}, p cannot be below {statistics.sign_test(ours, 0):.2g}."
        if 0 < ours < backbones
        else ""
    )
    return (
        f"A variant that is ahead in all {backbones} backbones has p = {smallest:.2g} in a sign test, and "
        f"p = {adjusted:.2g} after Holm's correction for {tests} comparisons: {means}.{of_ours}"
    )


def pattern_verdict(number):
    """Whether our runs show the paper's mean gain over backbones, as Markdown.

    The mean without collapsed runs decides: see `accuracy.judge_replication`.
    """
    compared = accuracy.differences(number)
    found = accuracy.replication(number, compared).set_index(["variant", "against"])
    words = {
        accuracy.REPLICATES: "Our runs show the paper's gain",
        accuracy.DOES_NOT_REPLICATE: "Our runs do not show the paper's gain",
        accuracy.OPEN: "Open",
    }
    against_stn, against_original = found.loc[("lstn", "stn")], found.loc[("lstn", ORIGINAL)]
    if against_stn["backbones"] < accuracy.FEWEST_BACKBONES:
        return _open_verdict(int(against_stn["backbones"]), int(against_stn["paper_backbones"]))
    pairs = rows_of_pair(compared, "lstn", "stn").dropna(subset="ours")
    at_scale = pairs["protocol"].isin(PAPER_SIZE)
    small = f",{' some' if at_scale.any() else ''} on smaller images than the paper's"
    verdict = accuracy.judge_replication(against_stn)
    decided_at_paper_size = at_scale.all() or verdict == accuracy.OPEN
    at_paper_size = "" if decided_at_paper_size else "; at the paper's image size it is open"
    return (
        f"**{words[verdict]}{at_paper_size}**: on average over backbones, L-STN minus "
        f"STN is {_mean_in_words(against_stn)}, and L-STN minus no transformer is {_mean_in_words(against_original)}. "
        f"We have {runs_in_words(pairs['n'])} a cell{'' if at_scale.all() else small}."
    )


def runs_in_words(numbers):
    """Numbers of runs in words: "one run", or such as "1 to 3 runs"."""
    return "one run" if max(numbers) == 1 else f"{statistics.range_text(numbers)} runs"


def mean_without_collapsed(row):
    """Return, as text, the mean difference over the backbones without a collapsed run.

    `row` is a row of `accuracy.replication`. With FEWEST_BACKBONES backbones or more, the text also has half the width
    of the mean's interval.
    """
    half = f" ± {row.half_kept:.2f}" if row.kept >= accuracy.FEWEST_BACKBONES else ""
    return f"{row.mean_kept:+.2f}{half}"


def _mean_in_words(row):
    """The mean difference of a row of `accuracy.replication` without collapsed runs, and the paper's, in words."""
    if not row["kept"]:
        return "not known, as each backbone has a collapsed run"
    left_out = (
        f" without the {count_text(row['collapsed'], 'backbone')} with a collapsed run"
        if row["collapsed"]
        else ""
    )
    return f"{mean_without_collapsed(row)} points{left_out} (the paper: {row['paper_mean']:+.2f})"


def _open_verdict(compared, total):
    """The sentence that `pattern_verdict` returns if too few of a table's backbones have runs of L-STN and STN."""
    if not compared:
        return f"**Open.** None of the {total} backbones has runs of L-STN and STN yet."
    coverage = f"{compared} of {total} backbones {'has' if compared == 1 else 'have'} runs of L-STN and STN"
    return f"**Open.** {coverage}; a verdict needs at least {accuracy.FEWEST_BACKBONES} backbones."


def falls_in_words(number):
    """Name the runs of Table 6 or 8 whose validation accuracy fell by FALL points after the epoch of the result.

    "" if there is none.
    """
    texts = []
    for (backbone, variant), runs in accuracy.runs_by_cell(number).items():
        for run in runs[~runs["collapsed"].astype(bool)].itertuples():
            curve = [epoch["validation_accuracy"] for epoch in run.record["epochs"]]
            if run.validation - curve[-1] >= FALL:
                name = f"{HEADINGS[variant]} with {title(backbone)}"
                texts.append(f"{name} from {run.validation:.2f} to {curve[-1]:.2f} %")
    lost = "The validation accuracy of some runs fell between the epoch that the table shows and the last epoch: "
    return f"{lost}{join_words(texts)}." if texts else ""


def tsrd_verdict():
    """Whether TSRD reaches “well above 98 %” with and without copies, as Markdown."""
    cells = accuracy.cells(4)
    trained, total = cells[cells["without_copy"].notna()], len(cells)
    if trained.empty:
        return "**Open.** No network of Table 4 has a run of ours yet."
    with_copies, without = (trained[c] >= WELL_ABOVE_98 for c in ("test", "without_copy"))
    part = "" if len(trained) == total else f", {len(trained)} of {total} have a run"
    gap = (trained["test"] - trained["without_copy"]).mean()
    text = (
        f"**“Well above 98 %” (read as {WELL_ABOVE_98:.0f} % or more) is reached by {with_copies.sum()} of "
        f"{len(trained)} networks on all test images and by {without.sum()} on those without an identical training "
        f"image**, on which the mean accuracy is {gap:.1f} points lower ({runs_in_words(trained['n'])} each{part})."
    )
    if (trained["protocol"] == "small").all():
        text += " Our short trainings of small images cannot refute the paper's numbers."
    return text


def size_ranking_verdict():
    """Whether larger networks win on TSRD, in one sentence."""
    ranks = accuracy.size_ranking()
    ours = ranks.drop("paper_test")
    if ours["rho"].isna().all():
        return f"Whether larger networks win is open: {statistics.RANKED} networks are needed."
    shown = ours.dropna()
    sure = shown["p"] < statistics.LEVEL
    wins, loses = (sure & (shown["rho"] > 0)).sum(), (sure & (shown["rho"] < 0)).sum()
    word = "No relation of size and accuracy is shown"
    if wins or loses:
        which, number = ("Larger", wins) if wins >= loses else ("Smaller", loses)
        word = f"{which} networks are more accurate in our runs" + (
            "" if number == len(shown) else f" in {number} of {len(shown)} columns"
        )
    ours, paper = statistics.range_text(shown["rho"], "{:+.2f}"), f"{ranks.loc['paper_test', 'rho']:+.2f}"
    return f"{word}: the rank correlation of parameters and accuracy is {ours} (the paper: {paper})."


def ahead_in_words(number):
    """In how many backbones of Table 6 or 8 a transformer is ahead in our runs, and how many cells have a run."""
    cells = accuracy.cells(number)
    trained = cells[cells["n"] > 0]
    coverage = _cells_with_a_run(len(trained), len(cells))
    found = accuracy.replication(number).set_index(["variant", "against"])
    stn, lstn = found.loc[("stn", ORIGINAL)], found.loc[("lstn", "stn")]
    if not stn["backbones"] or not lstn["backbones"]:
        return coverage
    ties = lstn["backbones"] - lstn["ahead"] - lstn["behind"]
    lost = (
        f"; {count_text(int(lstn['collapsed']), 'backbone')} with a collapsed run"
        if lstn["collapsed"]
        else ""
    )
    return (
        f"The test accuracy is higher with STN than without a transformer in {stn['ahead']:.0f} of "
        f"{stn['backbones']:.0f} backbones, and higher with L-STN than with STN in {lstn['ahead']:.0f} of "
        f"{lstn['backbones']:.0f}{f', equal in {ties:.0f}' if ties else ''} ({sizes_in_words(trained)}, "
        f"{runs_in_words(trained['n'])} each{lost}). {coverage}"
    )


def above_98_in_words():
    """In how many networks the accuracy on TSRD reaches "well above 98%" with and without copies, in words."""
    cells = accuracy.cells(4)
    trained = cells[cells["n"] > 0]
    coverage = f"{len(trained)} of {len(cells)} networks have a run"
    if trained.empty:
        return coverage
    with_copies, without = (int((trained[c] >= WELL_ABOVE_98).sum()) for c in ("test", "without_copy"))
    return (
        f"{WELL_ABOVE_98:.0f} % is reached by {with_copies} of {len(trained)} networks on all test images, by "
        f"{without} on those without an identical copy ({sizes_in_words(trained)}, "
        f"{runs_in_words(trained['n'])} each; {coverage})"
    )


def sizes_in_words(cells):
    """The image sizes of these cells, as text: "64 and 224 pixels"."""
    return f"{join_words([f'{size:.0f}' for size in sorted(cells['image_size'].unique())])} pixels"
