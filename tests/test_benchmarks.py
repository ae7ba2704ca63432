"""The benchmarks run at their smallest sizes, and the page shows their measurements; no test judges a time."""

import ast
import json
import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from helpers import rewrite, write_run
from short_of_memory import short_of_memory_at_step
from torch import nn

from benchmarks import __main__ as command
from benchmarks import convolutions, files, growth, limit, programs, transformer
from benchmarks.measuring import measure, peak_memory
from benchmarks.sizes import SIZES, Setting
from stn_paper.analysis import frame
from stn_paper.analysis.statistics import NOT_SHOWN
from stn_paper.errors import InputError
from stn_paper.models.localization import LOCALIZATION_NETS, localization_net
from stn_paper.paths import ROOT
from stn_paper.report import speed, speed_figures, speed_goals, speed_limits
from stn_paper.training import records
from stn_paper.training.spec import RunSpec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The JSON of a quick run without compiling, on generated images."""
    out = tmp_path_factory.mktemp("quick") / "cpu.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_PAPER_DATA", str(out.parent))
        with torch._dynamo.config.patch(disable=True):
            command.main(["--device", "cpu", "--out", str(out), "--quick"])
    return out


# --- measuring ----------------------------------------------------------------------------------


def test_programs_take_turns():
    calls = []
    programs = {name: lambda name=name: calls.append(name) for name in "ABC"}
    rows = measure(programs, CPU, ["A"], rounds=2, steps=2, before={"B": lambda: calls.append("b")})
    assert "".join(calls) == 2 * ("AAbBBCC" + "CCbBBAA")  # two rounds warm up
    assert [row["program"] for row in rows] == ["A", "B", "C"]
    assert rows[0]["ratios"] == {"A": [1, 1, 1]}


def test_a_ratio_compares_work_a_second(monkeypatch):
    clock = iter(range(100))  # every program takes one second
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    rows = measure({"A": int, "B": int}, CPU, ["A"], work={"B": 20})
    assert rows[1]["ratios"] == {"A": [20, 20, 20]} and rows[1]["rate"] == 20 and rows[1]["seconds"] == 1


def test_peak_memory_is_that_of_what_lives_at_once():
    mebibyte = 2**18
    assert peak_memory(lambda: [torch.ones(mebibyte), torch.ones(3 * mebibyte)], CPU) == 4
    assert peak_memory(lambda: [len(torch.ones(mebibyte)) for _ in range(3)], CPU) == 1  # each is freed


def test_an_error_of_a_program_elsewhere_comes_back():
    with programs.in_own_process(short_of_memory_at_step, 3) as call:
        call()
        call()
        with pytest.raises(torch.OutOfMemoryError, match="step 3"):
            call()


# --- the quick run ------------------------------------------------------------------------------


def test_a_quick_run_measures_every_part_and_says_that_it_is_quick(quick):
    content = json.loads(quick.read_text())
    assert content["quick"] is True and content["device"] == "cpu" and content["machine"]["torch"]
    assert list(content["parts"]) == list(command.PARTS)
    assert all(part["rows"] and part["commit"] is not None for part in content["parts"].values())
    assert content["parts"]["throughput"]["images"].startswith("generated")
    programs = Counter(row["program"] for row in content["parts"]["throughput"]["rows"])
    assert {"plain", "ours tf32", "timm tf32", "ours tf32 compiled"} <= set(programs)
    small = {row["program"] for row in content["parts"]["small"]["rows"]}
    assert small == {"ours tf32", "ours tf32 compiled"}
    assert {row["processes"] for row in content["parts"]["small"]["sharing"]} == set(SIZES["quick"].sharing)


def test_a_measured_part_is_kept(quick, monkeypatch):
    before = quick.read_text()
    monkeypatch.setattr(command, "PARTS", dict.fromkeys(command.PARTS))  # none can be called
    command.measure_parts("cpu", quick, quick=True)
    assert quick.read_text() == before


def test_a_named_part_is_measured_again(quick, monkeypatch):
    monkeypatch.setitem(command.PARTS, "data", lambda setting: [{"rows": []}])
    out = quick.with_name("other.json")
    out.write_text(quick.read_text())
    command.measure_parts("cpu", out, "data", quick=True)
    before, after = (json.loads(path.read_text())["parts"] for path in (quick, out))
    assert after["data"]["rows"] == [] and after["limit"] == before["limit"]


def test_an_interrupted_part_goes_on_and_is_not_shown(quick, monkeypatch, tmp_path):
    calls = []

    def interrupted(setting):
        for number in range(len(setting.rows), 3):
            calls.append(number)
            yield {"rows": [*setting.rows, *range(len(setting.rows), number + 1)]}
            if number == 1:
                raise KeyboardInterrupt

    out = tmp_path / "cut.json"
    content = json.loads(quick.read_text())
    del content["parts"]["data"]
    out.write_text(json.dumps(content))
    monkeypatch.setitem(command.PARTS, "data", interrupted)
    monkeypatch.setattr(command, "CONTINUED", ("data",))
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        command.measure_parts("cpu", out, quick=True)
    assert json.loads(out.read_text())["parts"]["data"]["rows"] == [0, 1]
    assert (
        "data" not in speed.benchmark_files()[0]["parts"] and "limit" in speed.benchmark_files()[0]["parts"]
    )
    command.measure_parts("cpu", out, quick=True)
    assert calls == [0, 1, 2]
    assert speed.benchmark_files()[0]["parts"]["data"]["rows"] == [0, 1, 2]


def test_a_file_of_another_size_and_an_unknown_part_are_one_sentence(quick):
    with pytest.raises(InputError, match="quick size"):
        command.measure_parts("cpu", quick)
    with pytest.raises(SystemExit) as end:
        command.main(["--out", str(quick), "--quick", "--device", "cpu", "--parts", "speed"])
    assert end.value.code.startswith("Unknown part 'speed'")
    with pytest.raises(InputError, match="was not written by"):
        command.measure_parts("cpu", ROOT / "benchmarks/digits/cpu.json")
    with pytest.raises(InputError, match="was not written by"):
        command.measure_parts("cpu", ROOT / "benchmarks")
    for text in ("", "[]", '{"machine": {"name": "one"}, "quick": true, "parts": {}}'):
        other = quick.with_name("another.json")
        other.write_text(text)
        with pytest.raises(InputError, match="was not written by"):
            command.measure_parts("cpu", other, quick=True)


def test_files_of_machines_with_the_same_name_stay_apart(quick, monkeypatch, tmp_path):
    content = json.loads(quick.read_text()) | {"quick": False}
    for name in ("first", "second"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    names = {file["machine"]["name"] for file in speed.benchmark_files()}
    assert len(names) == 2 and all(name.endswith(("first", "second")) for name in names)
    assert set(speed.throughput_table().index.get_level_values("Machine")) == names


@pytest.mark.parametrize(
    ("dataset", "backbone"), [("mnist-sequence", "sequence-cnn"), ("digits", "mnist-cnn")]
)
def test_a_step_on_noise_takes_as_many_labels_as_the_dataset_has(dataset, backbone):
    spec = RunSpec(dataset, backbone, "original", "system")
    loss, logits = programs.step_on_noise(replace(spec, protocol=replace(spec.protocol, batch_size=2)))()
    assert loss.isfinite() and logits.shape[:2] == (2, 10)


def test_links_repeat_the_files_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("STN_PAPER_DATA", str(tmp_path))
    setting = Setting(CPU, SIZES["quick"], tmp_path, True)
    folder = files.folder_of(setting, files.GENERATED + 3)
    assert len(list(folder.glob("*/*.jpg"))) == files.GENERATED + 3


def test_all_ways_to_a_batch_give_images_of_one_shape_and_range(tmp_path, monkeypatch):
    monkeypatch.setenv("STN_PAPER_DATA", str(tmp_path))
    setting = Setting(CPU, SIZES["quick"], tmp_path, True)
    for way in (files.from_files, programs.batches, programs.timm_batches):
        images, labels = next(way(setting, 16, 2))
        assert images.shape == (2, 3, 16, 16) and images.dtype == torch.float32, way
        assert -1 <= images.min() < 0 < images.max() <= 1 and labels.max() < files.CLASSES, way


# --- counts and folding -------------------------------------------------------------------------


@pytest.mark.parametrize("variant", LOCALIZATION_NETS)
def test_a_folded_net_computes_the_same(variant):
    torch.manual_seed(0)
    net, images = localization_net(variant, 64), torch.randn(4, 3, 64, 64)
    nn.init.normal_(net.head[-1].weight)  # untrained, it ignores its input
    net(images)  # running statistics that are not those of the start
    net.eval()
    torch.testing.assert_close(transformer.folded(net)(images), net(images), rtol=1e-4, atol=1e-5)


def test_folding_leaves_no_batch_norm_and_nothing_can_be_merged():
    net = localization_net("lstn", 64).eval()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in transformer.folded(net).modules())
    pairs, exact = transformer.mergeable(net)
    assert pairs > 0 and exact == 0


def test_operations_of_grouped_convolutions_are_counted_as_often_as_they_are_done():
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    images = torch.randn(2, 8, 5, 5, requires_grad=True)
    forward = 2 * 2 * 8 * 25 * 9  # two for a multiply-accumulate
    counted = limit.count(lambda: conv(images).sum().backward())
    assert counted["flops"] == 3 * forward


def test_bytes_are_those_of_inputs_and_outputs_but_not_of_views():
    a, b = torch.ones(10, 10), torch.ones(10, 10)
    assert limit.count(lambda: (a + b).view(100).t())["bytes"] == 3 * 400


# --- precision ----------------------------------------------------------------------------------


def write_bfloat16(seed, test, **changes):
    """A made-up record of ResNet-18 alone on Caltech-101, `reduced`, in bfloat16."""
    record = records.read_record(write_run("original", seed, test))
    spec = records.spec_of(record)
    records.record_path(spec).unlink()
    spec = replace(spec, protocol=replace(spec.protocol, precision="bfloat16", **changes))
    rewrite(record, spec)


def test_bfloat16_is_compared_with_the_same_run_in_float32():
    assert speed.precision_table().iloc[0, 0] == speed.MISSING and speed.precision_verdict() == ""
    for seed, test in enumerate((60.0, 61.0, 62.0, 63.0)):
        write_bfloat16(seed, test)
    write_bfloat16(0, 10.0, learning_rate=0.002)  # no other run is like it
    for seed in range(3):
        write_run("original", seed, 61.0)
    (row,) = speed.precision_table().itertuples()
    assert row.Index == "ResNet-18 Original, Caltech-101, reduced"
    assert (row.Difference[:5], row.Pairs, row.Verdict) == ("+0.00", 3, NOT_SHOWN)
    assert NOT_SHOWN in speed.precision_verdict()
    assert set(frame.runs("caltech101", "reduced")["test"]) == {61.0}


# --- convolutions ---


def test_our_convolutions_are_compared_with_torchs_in_one_run():
    torchs, ours = convolutions.compare("timm/test_resnet", rounds=1)
    assert (torchs["program"], ours["program"]) == ("torch", "ours")
    assert torchs["ratios"] == {"torch": [1.0, 1.0, 1.0]}
    assert ours["ratios"]["torch"][1] == pytest.approx(torchs["seconds"] / ours["seconds"], rel=1e-3)


def test_the_table_of_convolutions_has_a_row_a_network_and_a_range_over_two_measurements():
    table = speed.convolutions_table()
    assert len(table) == 2 * len(convolutions.NETWORKS)  # in two precisions
    assert (table["Seconds, torch's"].astype(float) > 0).all()
    assert table["Speed, ours by torch's"].str.fullmatch(r"\d\.\d\d \(\d\.\d\d to \d\.\d\d\)").all()


# --- the page -----------------------------------------------------------------------------------

TABLES = {  # name -> the module's table
    **dict.fromkeys(("machines_table", "throughput_table", "added_time_table", "nets_table"), speed),
    **dict.fromkeys(("small_protocol_table", "small_added_time_table"), speed),
    **dict.fromkeys(("data_path_table", "limit_table", "small_batches_table"), speed_limits),
    **dict.fromkeys(("sharing_table", "everyday_table"), speed_limits),
}
FIGURES = ("throughput_plot", "parts_plot", "flops_plot", "roofline_plot")


def shown(monkeypatch, folder):
    monkeypatch.setattr(speed, "BENCHMARKS", folder)
    for name in FIGURES:
        getattr(speed_figures, name)()
    texts = {name: getattr(module, name)().to_string() for name, module in TABLES.items()}
    assert speed.time_verdict()
    return texts | {"goals_table": speed_goals.goals_table().to_string()}


def test_without_measurements_everything_says_so(tmp_path, monkeypatch):
    assert all(speed.MISSING in text for text in shown(monkeypatch, tmp_path).values())
    every, missing = re.findall(r"\d+", speed_goals.goals_verdict())[:2]
    assert int(every) == int(missing) == len(speed_goals.goals_table())


def test_a_quick_run_is_no_result(quick, tmp_path, monkeypatch):
    (tmp_path / "cpu.json").write_text(quick.read_text())
    texts = shown(monkeypatch, tmp_path)
    assert "quick" in texts.pop("machines_table")
    assert all(speed.MISSING in text for text in texts.values())


def test_a_measurement_is_shown_beside_its_machine(quick, tmp_path, monkeypatch):
    content = json.loads(quick.read_text()) | {"quick": False}
    content["machine"] |= {"name": "A machine", "processor": "A machine"}
    (tmp_path / "cpu.json").write_text(json.dumps(content))
    assert all("A machine" in text for text in shown(monkeypatch, tmp_path).values())
    goals = speed_goals.goals_table()
    assert {"a GPU", "A machine"} <= set(goals["Machine"])
    assert (goals[goals["Machine"] == "a GPU"]["Verdict"] == speed.MISSING).all()


def test_a_step_at_half_the_peak_could_be_twice_as_far_ahead(tmp_path, monkeypatch):
    step = {"backbone": "resnet50", "variant": "lstn", "program": "ours tf32"}
    peaks = [{"program": "float32", "rate": 400.0}, {"program": "bfloat16", "rate": 800.0}]
    limits = [
        step | {"precision": "tf32", "flops": 600, "seconds": 3.0},
        step | {"precision": "bfloat16", "flops": 600, "seconds": 3.0, "program": "ours bfloat16"},
    ]
    ahead = step | {"paper": True, "ratios": {speed.AUTHORS_LOOP: [1.1, 1.4, 1.6]}}
    parts = {"limit": {"rows": limits, "peaks": peaks}, "throughput": {"rows": [ahead]}}
    content = {"quick": False, "device": "cpu", "machine": {"name": "A machine"}, "parts": parts}
    (tmp_path / "cpu.json").write_text(json.dumps(content))
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    assert speed_limits.limit_table().to_numpy().tolist() == [["50%", "1.40", "2.80"], ["25%", "–", "–"]]


def test_measurements_in_the_protocol_small_are_taken_together(tmp_path, monkeypatch):
    step = {"backbone": "resnet50", "batch": 16, "image_size": 64, "precision": "bfloat16"}
    rows, variants, peaks = [], [], []
    for number, (ahead, behind) in enumerate(((1.2, 0.95), (1.4, 0.93)), 1):
        shared = step | {"measurement": number}
        ratios = {speed.AUTHORS_LOOP: [1.0, ahead, 9.0], "timm": [0.5, 0.96, 9.0]}
        ratios["ours float32"] = [1.0, 1.5, 9.0]
        rows.append(shared | {"variant": "lstn", "program": "ours", "rate": 100.0 * number, "ratios": ratios})
        rows.append(shared | {"variant": "lstn", "program": "timm", "rate": 1.0, "ratios": ratios})
        shares = {
            "seconds": 0.5,
            "flops": 40 * number,
            "ratios": {"original": [0.9, behind, 0.96 + number / 100]},
        }
        variants.append(shared | {"variant": "lstn", "program": "lstn"} | shares)
        peaks.append({"measurement": number, "program": "bfloat16", "rate": 100.0})
        peaks.append({"measurement": number, "program": "float32", "rate": 1.0})  # not the step's precision
    parts = {"small_protocol": {"rows": rows, "variants": variants, "peaks": peaks}}
    content = {"quick": False, "device": "cpu", "machine": {"name": "M", "processor": "M"}, "parts": parts}
    (tmp_path / "cpu.json").write_text(json.dumps(content))
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    (row,) = speed.small_protocol_table().to_dict("records")
    ratios = ["1.30 (1.20 to 1.40)", "0.96 (0.96 to 0.96)", "–", "–", "1.50 (1.50 to 1.50)"]
    assert list(row.values()) == ["150.0", *ratios]
    (row,) = speed.small_added_time_table().to_dict("records")
    assert list(row.values()) == ["500", "6.0% (2.0% to 10.0%)", "120% (80% to 160%)"]
    assert speed.time_verdict() == f"**{speed.MISSING.capitalize()}.**"  # without the nets alone
    judged = speed_goals.goals_table()
    judged = judged[judged["Verdict"] != speed.MISSING]
    assert [text.split()[0] for text in judged["Measured"]] == ["1.30", "0.96", "6.0%", "120%"]
    assert judged["Verdict"].tolist() == ["missed", "missed", "met", "met"]


@pytest.mark.parametrize(
    "value, bounds, verdict",
    [
        (2, {"least": 1.5}, "met"),
        (1, {"least": 1.5}, "missed"),
        (1, {"most": 1}, "met"),
        (2, {"most": 1}, "missed"),
    ],
)
def test_a_goal_is_judged_by_its_worst_case(value, bounds, verdict):
    better = 100 if "least" in bounds else 0
    row = speed_goals._goal_row("a goal", "cpu", [(better, "one", "M"), (value, "two", "M")], **bounds)
    assert row["Verdict"] == verdict and "two" in row["Measured"]


def test_the_median_decides_a_goal(monkeypatch):
    quartiles = {"timm eager": [0.8, 0.9, 1.1]}
    row = SimpleNamespace(backbone="resnet18", variant="lstn", mode="eager", machine="M", ratios=quartiles)
    monkeypatch.setattr(speed_goals, "our_rows", lambda steps: [row])
    ((ratio, _, _),) = speed_goals._ratios_to_timm(None)
    assert ratio == 0.9


def test_the_committed_measurements_are_no_quick_ones():
    assert not any(json.loads(path.read_text())["quick"] for path in (ROOT / "benchmarks").glob("*.json"))


def test_a_gpus_steps_are_ratios_to_its_eager_float32_step(monkeypatch, tmp_path):
    row = {"backbone": "resnet50", "image_size": 224, "batch_size": 20}
    rows = [
        row | {"mode": "eager float32", "images_per_second": 500.0},
        row | {"mode": "graph bfloat16", "images_per_second": 1500.0},
        row | {"backbone": "effb0", "mode": "graph bfloat16", "images_per_second": 900.0},
    ]
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu/x.json").write_text(json.dumps({"device": "X", "rows": rows}))
    monkeypatch.setattr(speed_limits, "BENCHMARKS", tmp_path)
    ratios = speed_limits.gpu_steps_table()["Ratio to eager float32"]
    assert ratios.tolist()[:2] == [1.0, 3.0] and ratios.isna().tolist() == [False, False, True]


def test_the_tasks_of_growth_call_functions_that_exist():
    texts = [arguments[1] for arguments in growth.TASKS.values() if arguments[0] == "-c"]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    modules = {
        alias.name: import_module(f"{node.module}.{alias.name}")
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    called = [
        (n.value.id, n.attr) for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    ]
    called = [(module, name) for module, name in called if module in modules]
    assert ("front_page", "findings") in called
    assert [f"{module}.{name}" for module, name in called if not hasattr(modules[module], name)] == []
