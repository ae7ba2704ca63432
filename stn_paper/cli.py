"""`stn-paper <command>`: train runs, get data, check records, write the computed tables.

`python -m stn_paper <command>` does the same, also in a clone that is not installed.
"""

import argparse
import io
import math
import os
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from .errors import InputError, check_minutes, needing

README_MARK = "<!-- found so far: written by python -m stn_paper readme -->"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and call the command; a wrong value ends the program with one sentence."""
    parser = argparse.ArgumentParser(prog=_program(), description=__doc__)
    parser.set_defaults(extra="train")
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in (_add_run, _add_evaluate, _add_campaign, _add_tools):
        add(commands)
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # with an ASCII locale, print would fail otherwise
    try:
        with _stopping(), needing(options.extra):
            options.call(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InputError, ModuleNotFoundError) as error:
        sys.exit(str(error))


_PRECISION = "float32, tf32 or bfloat16, instead of the protocol's precision"
_COMPILE = "train through torch.compile; worthwhile on a GPU"


def _add_run(commands):
    """Add the command that trains."""
    train = commands.add_parser("run", help="train runs that have no record yet")
    train.add_argument("dataset")
    train.add_argument("backbone")
    train.add_argument("variant", help="original, stn, vstn, lstn or all; a smaller system has its own")
    train.add_argument("protocol", help="paper, equal, small, reduced, smoke or system")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto")
    train.add_argument("--data-dir")
    train.add_argument(
        "--skip-corrupt", action="store_true", help="leave out images that cannot be decoded; see the record"
    )
    train.add_argument("--precision", help=_PRECISION)
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="replace a setting of the protocol, e.g. padding=border; may be repeated",
    )
    train.add_argument("--compile", action="store_true", help=_COMPILE)
    train.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after this time; the same command continues"
    )
    train.set_defaults(call=_run)


def _add_evaluate(commands):
    """Add the command that tests kept weights."""
    test = commands.add_parser("evaluate", help="test the kept weights of the small networks on their images")
    test.add_argument(
        "networks",
        nargs="*",
        metavar="network",
        help="for example digits-lstn; by default, all networks with kept weights",
    )
    test.add_argument("--data-dir")
    test.set_defaults(call=_evaluate)


def _add_campaign(commands):
    """Add the command that trains a table's missing runs."""
    slot = commands.add_parser("campaign", help="train a table's missing runs, the most valuable first")
    slot.add_argument("table", help="table4, table6 or table8")
    slot.add_argument("--minutes", type=float, required=True, help="the slot; unfinished runs continue later")
    slot.add_argument("--protocol", default="equal", help="equal (default), paper or small")
    slot.add_argument("--device", default="auto")
    slot.add_argument("--together", type=int, help="runs that share the device")
    slot.add_argument("--archive", metavar="FILE", help="a .tar.gz to put the new records into")
    slot.add_argument("--precision", help=_PRECISION)
    slot.add_argument("--compile", action="store_true", help=_COMPILE)
    slot.add_argument("--data-dir")
    slot.set_defaults(call=_campaign)


def _add_tools(commands):
    """Add the commands that list, count, measure and check."""
    data = commands.add_parser("data", help="list the datasets: where, how large, whether complete")
    data.add_argument("--download", metavar="dataset", help="download this dataset first")
    data.add_argument("--data-dir")
    data.set_defaults(call=_list_data)

    copies = commands.add_parser(
        "copies", help="find test images that are training images too; write results/copies/"
    )
    copies.add_argument("--data-dir")
    copies.set_defaults(call=_write_copies)

    write = commands.add_parser("costs", help="measure all networks and write results/costs.csv")
    write.set_defaults(call=_costs)

    readme = commands.add_parser("readme", help="update the README's table from costs and records")
    readme.set_defaults(call=_readme, extra="book")

    records = commands.add_parser(
        "results", help="check the run records, or write all of them into results/results.csv"
    )
    records.add_argument("action", choices=["check", "table"])
    records.add_argument(
        "folders", nargs="*", help="folders with records of other machines, besides the results folder"
    )
    records.set_defaults(call=_check_results)

    card = commands.add_parser("card", help="print the model card of a run, as Markdown")
    card.add_argument(
        "run", help='a record\'s name, or its JSON file; "weights" writes the cards of all kept weights'
    )
    card.set_defaults(call=_card, extra="book")


def _program():
    """The name of the program as the user typed it: the installed command, or Python with the module."""
    return "stn-paper" if Path(sys.argv[0]).stem == "stn-paper" else "python -m stn_paper"


@contextmanager
def _stopping():
    """Context: Ctrl-C, SIGTERM and SIGHUP end the program with one sentence and the exit code 128 + signal number."""

    received = []

    def stop(number, _):
        received.append(number)
        raise _Stopped(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # an ignored signal, as under nohup, stays ignored
    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [n for n in map(partial(getattr, signal), names) if signal.getsignal(n) in usual]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except (_Stopped, Exception) as stopped:
        if not received:
            raise
        # torch.save turns the exception of the handler into an error of its own
        where = getattr(stopped, "where", "")
        progress = (
            f"{where}, and the same command goes on from there" if where else "what is finished is kept"
        )
        print(f"Stopped: {progress}.", file=sys.stderr)
        sys.exit(128 + received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stopped(BaseException):
    """Raised by the handler of a signal; a BaseException, so that no `except Exception` swallows it."""

    where = ""  # the progress of the interrupted command, in words


def _run(options):
    from .models import variants
    from .paths import check_data_dir
    from .training.checkpoint import epochs_done
    from .training.hardware import check_device, is_fast_in_bfloat16
    from .training.loop import run
    from .training.networks import check_networks
    from .training.protocol import parse_setting
    from .training.records import find, record_path, selected_result
    from .training.spec import RunSpec, with_precision

    names = variants(options.backbone) if options.variant == "all" else [options.variant]
    specs = [RunSpec(options.dataset, options.backbone, v, options.protocol, options.seed) for v in names]
    changed = {"skip_corrupt": True} if options.skip_corrupt else {}
    changed |= dict(map(parse_setting, options.set))
    specs = [replace(s, protocol=replace(s.protocol, **changed)) for s in specs]
    specs = [with_precision(spec, options.precision) for spec in specs]
    until = time.time() + 60 * check_minutes(options.minutes)
    check_data_dir(options.data_dir)
    missing = [spec for spec in specs if not find(spec)]
    check_networks(missing)
    place = check_device(options.device)
    if any(s.protocol.precision == "bfloat16" for s in missing) and not is_fast_in_bfloat16(place):
        faster = "--precision tf32, which is float32 on a CPU, is faster"
        print(f"This processor is slow in bfloat16: {faster}.", file=sys.stderr)
    for spec in specs:
        try:
            record = run(spec, options.device, options.data_dir, options.compile, until)
        except _Stopped as stopped:
            done, epochs = epochs_done(spec), spec.protocol.max_epochs
            stopped.where = f"{spec.name} has {done} of {epochs} epochs in its checkpoint"
            raise
        if record is None:
            sys.exit(f"{spec.name} is not finished: its time was up. The same command continues it.")
        found = selected_result(record)
        print(f"{record_path(spec)}: test accuracy {found['test']:.2f} % at epoch {found['epoch']}")


def _evaluate(options):
    from .paths import WEIGHTS
    from .training import kept, records

    if not (names := options.networks or kept.kept_names()):
        raise InputError(f"Folder {WEIGHTS} has no weights: a clone of the repository has them.")
    for name in names:
        accuracy, record = kept.evaluate_kept(name, options.data_dir), records.find(kept.NETWORKS[name])
        recorded = (
            f"its record says {records.selected_result(record)['test']:.2f} %"
            if record
            else "it has no record"
        )
        print(f"{name:<18} {accuracy:.2f} % of the test images; {recorded}", flush=True)


def _campaign(options):
    from .analysis.campaign import train_missing

    slot = options.table, check_minutes(options.minutes), options.protocol, options.device
    more = options.together, options.archive, options.precision, options.compile
    train_missing(*slot, options.data_dir, *more)


def _list_data(options):
    from .data.datasets import dataset_states
    from .data.download import fetch

    if options.download is not None:
        fetch(options.download, options.data_dir)
    states = dataset_states(options.data_dir)
    width = max(len(name) for name, *_ in states)
    for name, images, size, place, state in states:
        print(f"{name:<{width}} {images:>7} images {size:>5} MiB in {place}\n{'':{width}} {state}")


def _write_copies(options):
    from .analysis.copy_search import write_all
    from .paths import data_dir

    data_dir(options.data_dir)  # raises for a wrong folder, before each dataset is reported as missing
    for line in write_all(options.data_dir):
        print(line, flush=True)


def _costs(options):
    from .analysis.cost_tables import write_costs

    print(write_costs())


def _readme(options):
    from .paths import ROOT, replace_file

    path = ROOT / "README.md"
    try:
        before, _, after = path.read_text(encoding="utf-8").split(README_MARK)
    except (OSError, ValueError):
        problem = f"{path} is not there or lacks two lines {README_MARK!r}"
        raise InputError(
            f"{problem}: run this in a clone of the repository, not in an installed package."
        ) from None
    from .report import front_page  # not before the README is read, because it takes seconds

    answers = "\n".join(f"- {answer}" for answer in front_page.lstn_answers().values())
    found = f"\n{answers}\n\n{front_page.as_markdown(front_page.findings())}\n"
    content = README_MARK.join([before, found, after])
    with replace_file(path) as part:
        part.write_text(content, encoding="utf-8")


def _card(options):
    from .report.card import find_record, model_card, write_kept

    if options.run == "weights":
        print(*write_kept(), sep="\n")
    else:
        print(model_card(find_record(options.run)), end="")


def _check_results(options):
    from .analysis.audit import check
    from .analysis.results_csv import write_results

    if options.action == "table":
        print(write_results())
        return
    faults, notes = check(options.folders)
    print(*faults, *notes, sep="\n")
    if faults:
        sys.exit(1)
