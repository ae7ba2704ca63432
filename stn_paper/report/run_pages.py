"""One page a run record: what was asked for, what came out, on which machine, and how to repeat it.

`page` gives its HTML from the records alone; `book/_extensions/companion.py` puts all of them into the book.
"""

from html import escape
from shlex import join

from matplotlib.ticker import MaxNLocator

from ..analysis import frame
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title as network
from ..training import records
from ..training.record_fields import PARTLY
from ..training.spec import BEST_OF_FIVE, BEST_VALIDATION, LAST_EPOCH, PROTOCOLS

SETTINGS = {  # field of Protocol: its name in words, and what None means
    "name": ("Protocol", ""),
    "image_size": ("Image size (pixels of a side)", "the network's own"),
    "batch_size": ("Batch size", ""),
    "learning_rate": ("Learning rate", ""),
    "max_epochs": ("Epochs at most", ""),
    "min_epochs": ("Early stopping not before epoch", ""),
    "window": ("Early stopping looks at so many last epochs", ""),
    "tolerance": ("and stops when all lie this close to their mean (points)", ""),
    "selection": ("Rule that selects the epoch", ""),
    "split_seed": ("Seed of the split", ""),
    "train_per_class": ("Training images a class", "all"),
    "max_images": ("Images of each split at most", "all"),
    "max_evaluation": ("Images of validation and of test at most", "all"),
    "skip_corrupt": ("Images that cannot be decoded are left out", ""),
    "normalization": ("Normalization of the images", ""),
    "optimizer": ("Optimizer", ""),
    "precision": ("Precision of products", ""),
    "validation_images": ("Validation images", "the split's own number"),
    "probes": ("Pictures of the trained network are kept", ""),
    "schedule": ("Schedule of the learning rate", ""),
    "localization_rate": ("Learning rate of the localization net, as a share", ""),
    "train_images": ("Training images at most", "all"),
    "max_validation": ("Validation images at most", "all"),
    "test_once": ("Test images are looked at once", ""),
}
RULES = {
    LAST_EPOCH: "after the last epoch; nothing is selected",
    BEST_VALIDATION: "at the epoch of highest validation accuracy",
    BEST_OF_FIVE: "the highest among the five epochs of highest validation accuracy; biased upwards",
}
ENVIRONMENT = {
    "threads": "CPU threads",
    "compiled": "Through torch.compile",
    "commit": "Commit of the code",
    "command": "Command",
    "started": "Started (UTC)",
    "ended": "Ended (UTC)",
}
MEASURED = {
    "seconds": "Duration of all epochs (seconds)",
    "train_images_per_second": "Training images a second",
    "peak_memory_mib": "Peak memory (MiB)",
    "resumed": "Times continued from a checkpoint",
}
DATA = {
    "classes": "Classes",
    "image_size": "Image size (pixels of a side)",
    "train": "Training images",
    "validation": "Validation images",
    "test": "Test images",
    "skipped": "Files left out as they cannot be decoded",
    "duplicates": "Images left out as copies of others",
    "fingerprint": "Fingerprint of the images",
}
SPLITS = {"train": ("training", ""), "validation": ("validation", "6 3"), "test": ("test", "1.5 3")}  # dashes


def title(spec):
    """What a run is, in words."""
    variant = spec["variant"]
    behind = "alone" if variant == ORIGINAL else f"with {HEADINGS[variant]}"
    where = f"{DATASETS[spec['dataset']].title}, {protocol(spec)}, seed {spec['seed']}"
    return f"{network(spec['backbone'])} {behind} on {where}"


def protocol(spec):
    """A protocol's name, and what of it the run changed, in words."""
    changes = records.spec_of({"spec": spec}).changes
    words = (f"{SETTINGS[field][0].lower()}: {_text(value)}" for field, value in changes.items())
    return ", ".join([spec["protocol"]["name"], *words])


def command(record):
    """The shell's command that trains this run anew, "" for settings that no option gives.

    It writes to a results folder of its own, as the run would otherwise be found instead of trained.
    """
    spec, environment = records.spec_of(record), record["environment"]
    changed = spec.changes.keys() - {"skip_corrupt", "precision"}
    if spec.protocol.name not in PROTOCOLS or changed or environment.get("compiled") == PARTLY:
        return ""
    names = [spec.dataset, spec.backbone, spec.variant, spec.protocol.name]
    words = ["python", "-m", "stn_paper", "run", *names, "--seed", str(spec.seed)]
    words += ["--skip-corrupt"] if spec.protocol.skip_corrupt else []
    words += ["--precision", spec.protocol.precision] if "precision" in spec.changes else []
    words += ["--compile"] if environment.get("compiled") else []
    threads = f"OMP_NUM_THREADS={environment['threads']} " if "threads" in environment else ""
    return f"{threads}STN_PAPER_RESULTS=again {join(words)}"


def page(name, records):
    """The HTML of the page of the run `name` of `records`, {name: record}; its JSON lies beside it."""
    record = records[name]
    spec = record["spec"]
    parts = [
        f"<h1>{escape(title(spec))}</h1>",
        f"<p>{escape(_summary(record))}</p>",
        _section("Accuracy", _accuracy(record)),
        _section("Learning curves", curves(record)),
        _section("The same network", _relatives(name, records)),
        _section("Settings", f"<p>{escape(_meaning(spec))}</p>", _rows(_settings(record))),
        _section("Images", *_copies(record), _rows(_labelled(record["data"], DATA))),
        _section("Machine", _rows(_machine(record))),
        _section("To repeat it", *_repeat(record)),
        _section("Record", f'<p><a href="{escape(name)}.json" download>{escape(name)}.json</a></p>'),
        '<p><a href="../notebooks/runs.html">Every run</a></p>',
    ]
    return "\n".join(parts)


def _section(heading, *parts):
    return "\n".join(["<section>", f"<h2>{heading}</h2>", *parts, "</section>"])


def _rows(pairs):
    """Pairs of a name and its value as a table of two columns."""
    rows = [f'<tr><th scope="row">{escape(k)}</th><td>{escape(_text(v))}</td></tr>' for k, v in pairs]
    return "\n".join(['<table class="dataframe facts">', *rows, "</table>"])


def _text(value):
    """A value as readers write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def _labelled(found, labels):
    """The values of a part of a record under their names in words, unknown fields at the end."""
    order = [*[field for field in labels if field in found], *[f for f in found if f not in labels]]
    return [(labels.get(field, field.replace("_", " ").capitalize()), found[field]) for field in order]


def _summary(record):
    chosen = records.chosen(record)
    ends = {"budget": "its budget was used up", "early": "early stopping ended it"}
    return (
        f"Test accuracy {chosen['test']:.2f} % at epoch {chosen['epoch']} of {len(record['epochs'])}, when "
        f"{ends[record['stopped']]}; {record['parameters']:,} parameters."
    )


def _accuracy(record):
    rows = [
        f'<tr><th scope="row">{rule}</th><td>{meaning}</td><td>{selected["epoch"]}</td>'
        f"<td>{selected['validation']:.2f}</td><td>{selected['test']:.2f}</td></tr>"
        for rule, meaning in RULES.items()
        if (selected := record["selected"].get(rule))
    ]
    names = ["Rule", "What it reports", "Epoch", "Validation (%)", "Test (%)"]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    table = ['<table class="dataframe">', f"<tr>{head}</tr>", *rows, "</table>"]
    return "\n".join([*table, *([_rows(facts)] if (facts := [*_test(record), *_theta(record)]) else [])])


def _test(record):
    """What the one look at the test images says beside the accuracy over all images."""
    if test := record.get("test"):
        yield "Test accuracy, mean over classes (%)", f"{test['class_accuracy']:.2f}"
        for part, said in (("with_copy", "with"), ("without_copy", "without")):
            if found := test.get(part):
                accuracy = f"{found['accuracy']:.2f}" if "accuracy" in found else "–"
                yield (
                    f"Test accuracy on the {found['images']} images {said} an identical training image (%)",
                    accuracy,
                )


def _theta(record):
    """What the transformer does to the validation images after the last epoch."""
    if "outside" in (theta := record["epochs"][-1].get("theta", {})):
        median, high = theta["spread"]
        yield "Corners move from image to image by (pixels, median)", f"{median:.2f}"
        yield "and by (pixels, 90th percentile)", f"{high:.2f}"
        yield "Mean corners from the image's own (pixels)", f"{theta['from_identity']:.2f}"
        yield "Sampling grid outside the image (%)", f"{theta['outside']:.1f}"


def _meaning(spec):
    name = spec["protocol"]["name"]
    return f"{name}: {PROTOCOLS.get(name, 'settings of its own')}."


def _settings(record):
    settings = record["spec"]["protocol"]
    for field, (label, none) in SETTINGS.items():
        yield label, none if settings[field] is None else settings[field]
    yield "Seed of the weights and of the order of images", record["spec"]["seed"]


def _machine(record):
    return _labelled(record["environment"], ENVIRONMENT) + _labelled(record["measured"], MEASURED)


def _copies(record):
    return [f"<p>{escape(note)}</p>" for note in frame.copies([record])]


def _repeat(record):
    if not (line := command(record)):
        return ["<p>No option of the command line gives these settings: use RunSpec in Python.</p>"]
    commit = record["environment"].get("commit", "")
    code = f"commit {commit}" if commit else "an unknown commit"
    code = code.replace(records.CHANGED, " with changes that no commit holds")
    where = f"On the same kind of device; the code was at {code}. The new record goes to the folder “again”."
    return [f'<div class="highlight command"><pre>{escape(line)}</pre></div>', f"<p>{escape(where)}</p>"]


def _relatives(name, runs):
    """The runs of the same dataset, network and protocol, a row a variant, each seed linked to its page."""
    kin, rows = _kin(runs[name]["spec"]), {}
    for other, record in runs.items():
        spec = record["spec"]
        if _kin(spec) == kin:
            text = f"seed {spec['seed']}: {records.chosen(record)['test']:.2f}"
            leads = f'<a href="{escape(other)}.html">{text}</a>'
            link = f"<strong>{text}</strong>" if other == name else leads
            rows.setdefault(spec["variant"], []).append(link)
    lines = [
        f'<tr><th scope="row">{HEADINGS[variant]}</th><td>{", ".join(rows[variant])}</td></tr>'
        for variant in HEADINGS
        if variant in rows
    ]
    said = "<p>Test accuracy (%) of every seed and variant with the same data, network and protocol.</p>"
    return "\n".join([said, '<table class="dataframe facts">', *lines, "</table>"])


def _kin(spec):
    return spec["dataset"], spec["backbone"], tuple(spec["protocol"].items())


def relatives(records):
    """For each run of {name: record}, the runs of the same dataset, network and protocol, in the same form."""
    groups = {}
    for name, record in records.items():
        groups.setdefault(_kin(record["spec"]), {})[name] = record
    return {name: group for group in groups.values() for name in group}


# --- learning curves ----------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 170, 48, 26, 78  # of a panel, its margins, and between the two


def curves(record):
    """Loss and accuracy after each epoch as SVG, in the text's own colour; what it shows is said in words."""
    epochs = record["epochs"]
    panels = [_panel(epochs, "loss", 0), _panel(epochs, "accuracy", WIDTH + GAP)]
    best = records.chosen(record)
    said = (
        f"Learning curves over {len(epochs)} epochs. Training loss from {epochs[0]['train_loss']:.2f} to "
        f"{epochs[-1]['train_loss']:.2f}, validation loss from {epochs[0]['validation_loss']:.2f} to "
        f"{epochs[-1]['validation_loss']:.2f}; at the selected epoch {best['epoch']} validation "
        f"accuracy is {best['validation']:.2f} % and test accuracy {best['test']:.2f} %."
    )
    box = f"0 0 {2 * WIDTH + GAP + LEFT + 12} {TOP + HEIGHT + 42}"
    lines = {name: _line([(0, 4), (30, 4)], split) for split, (name, _) in SPLITS.items()}
    key = '<svg class="key" viewBox="0 0 30 8" aria-hidden="true">'
    keys = " ".join(f"{key}{line}</svg> {name}" for name, line in lines.items())
    return "\n".join(
        [
            f'<svg class="curves" viewBox="{box}" role="img" aria-label="{escape(said)}">',
            *panels,
            "</svg>",
            f'<p class="table-note">{keys}</p>',
        ]
    )


def _panel(epochs, quantity, shift):
    """One panel: axes, ticks, and a line a split; a record of one epoch gives dots."""
    found = {split: [epoch.get(f"{split}_{quantity}") for epoch in epochs] for split in SPLITS}
    found = {split: values for split, values in found.items() if None not in values}
    flat = [value for values in found.values() for value in values]
    ticks = MaxNLocator(5).tick_values(min(flat) if quantity == "loss" else 0, max(flat))
    low, high = ticks[0], ticks[-1]
    left, right, bottom = LEFT + shift, LEFT + shift + WIDTH, TOP + HEIGHT

    def x(epoch):
        return left + WIDTH * (epoch - 1) / max(len(epochs) - 1, 1)

    def y(value):
        return bottom - HEIGHT * (value - low) / (high - low)

    parts = [f'<path class="axis" d="M{left} {TOP}V{bottom}H{right}"/>']
    unit = " (%)" if quantity == "accuracy" else ""
    parts += [f'<text x="{left}" y="{TOP - 10}">{quantity}{unit}</text>']
    parts += [f'<text x="{right}" y="{bottom + 36}" text-anchor="end">epoch</text>']
    for value in ticks:
        parts += [f'<path class="grid" d="M{left} {y(value):.1f}H{right}"/>']
        parts += [f'<text x="{left - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>']
    for epoch in MaxNLocator(5, integer=True).tick_values(1, len(epochs)):
        if 1 <= epoch <= len(epochs):
            parts += [f'<text x="{x(epoch):.1f}" y="{bottom + 18}" text-anchor="middle">{epoch:g}</text>']
    for split, values in found.items():
        points = [(x(epoch), y(value)) for epoch, value in enumerate(values, 1)]
        parts += [_line(points, split) if len(points) > 1 else _dot(*points[0], split)]
    return "\n".join(parts)


def _line(points, split):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{split}" stroke-dasharray="{SPLITS[split][1]}" points="{path}"/>'


def _dot(x, y, split):
    return f'<circle class="{split}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
