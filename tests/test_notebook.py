"""The parameters of notebooks: recorded runs are never trained again, and wrong values start no training."""

import re
from types import SimpleNamespace

import pytest
from helpers import write_run

from stn_paper import notebook
from stn_paper.data.files import LAYOUTS
from stn_paper.errors import InputError
from stn_paper.models import VARIANTS
from stn_paper.training import hardware
from stn_paper.training.presets import SMALL_IN_FLOAT32
from stn_paper.training.spec import RunSpec, in_float32

PARAMETERS = {"backbone": "resnet18", "variant": "all", "dataset": "caltech101", "protocol": "auto"}


def resolve(page=6, **changes):
    return notebook.resolve(page, **{**PARAMETERS, "device": "cpu", **changes})


def trained(request):
    """What the banner says of trained runs: ["3 of 4"], or [] if nothing was trained."""
    return re.findall(r"\d+ of \d+", request.banner)


def test_published_trains_nothing():
    assert resolve(backbone="published").specs == []


@pytest.mark.parametrize("backbone", ["published", "resnet18"])
def test_the_banner_shows_all_parameters_because_papermill_ignores_misspelt_names(backbone, monkeypatch):
    monkeypatch.setattr(notebook, "_reason_against_full_scale", lambda *_, **__: "")
    for protocol in ("auto", "smoke", "reduced"):
        banner = resolve(backbone=backbone, protocol=protocol, seed=7).banner
        for value in (backbone, "all", "caltech101", protocol, "7"):
            assert f"`{value}`" in banner
    banner = notebook.resolve_experiment(backbone, "caltech101", "reduced", 3, "cpu").banner
    assert f"`{backbone}`" in banner and "`caltech101`" in banner and "`3`" in banner


def test_the_banner_says_how_many_runs_are_trained():
    assert trained(resolve(backbone="published")) == []
    write_run("original", 0, 50.0)
    assert trained(resolve(protocol="reduced")) == ["3 of 4"]


def test_published_names_smaller_protocols_where_they_have_records():
    assert resolve(backbone="published").protocols == ["paper", "equal"]
    write_run("original", 0, 50.0)
    assert resolve(backbone="published").protocols == ["paper", "equal", "reduced"]
    assert resolve(backbone="published", protocol="small").protocols == ["small"]


def test_auto_without_cuda_is_a_smoke_run_on_digits_that_says_why():
    request = resolve()
    assert {(s.dataset, s.protocol.name) for s in request.specs} == {("digits", "smoke")}
    assert [s.variant for s in request.specs] == list(VARIANTS)
    assert "CUDA" in request.banner


def test_auto_on_cuda_with_the_dataset_is_the_papers_protocol(monkeypatch):
    monkeypatch.setattr(notebook, "_reason_against_full_scale", lambda *_, **__: "")
    request = resolve()
    assert {(s.dataset, s.protocol.name) for s in request.specs} == {("caltech101", "paper")}


def test_auto_on_cuda_without_the_dataset_is_a_smoke_run_that_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(LAYOUTS, "caltech101", LAYOUTS["caltech101"]._replace(archives=()))
    monkeypatch.setattr(notebook, "check_device", lambda device: SimpleNamespace(type="cuda"))
    request = resolve(data_dir=tmp_path)
    assert request.protocols == ["smoke"]
    assert str(tmp_path / "caltech101") in request.banner


def test_the_experiment_of_any_network_is_a_smoke_run_without_a_gpu():
    request = notebook.resolve_experiment("resnet18", "digits", "auto", 1, "cpu")
    assert request.protocols == ["smoke"] and "constant" in {spec.variant for spec in request.specs}
    with pytest.raises(InputError, match="'paper': choose one of auto, equal"):
        notebook.resolve_experiment("resnet18", "digits", "paper", 1, "cpu")


def test_a_network_for_sequences_cannot_smoke_on_digits(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        notebook.resolve(
            "sequence-cnn", "all", "all", "mnist-sequence", "auto", device="cpu", data_dir=tmp_path
        )


def test_a_smaller_system_trains_at_its_own_settings_on_any_machine():
    request = notebook.resolve("mnist-cnn", "all", "all", "digits", "auto", device="cpu")
    assert [s.variant for s in request.specs] == ["original", "stn", "vstn", "lstn", "projective", "tps"]
    assert {(s.backbone, s.protocol.name, s.image_size) for s in request.specs} == {
        ("mnist-cnn", "system", 42)
    }
    assert notebook.resolve("mnist-cnn", "published", "all", "digits", "auto").protocols == ["system"]


def test_a_system_has_variants_of_its_own():
    with pytest.raises(InputError, match="Unknown variant 'lstn': choose one of all, original, affine"):
        notebook.resolve("cifar-cnn", "all", "lstn", "cifar10", "auto")
    with pytest.raises(InputError, match="Unknown variant 'two': choose one of all, original, stn"):
        resolve(variant="two")


def test_auto_shows_what_is_recorded():
    for variant in VARIANTS:
        write_run(variant, 0, 40.0)
    request = resolve()
    assert request.protocols == ["reduced"] and trained(request) == []
    assert [(s.variant, s.protocol.name) for s in request.specs] == [(v, "reduced") for v in VARIANTS]
    assert resolve(seed=1).protocols == ["smoke"]  # this seed has no record


def test_auto_prefers_the_full_scale_to_smaller_records_where_it_can_be_trained(monkeypatch):
    for variant in VARIANTS:
        write_run(variant, 0, 40.0)
    monkeypatch.setattr(notebook, "_reason_against_full_scale", lambda *_, **__: "")
    request = resolve()
    assert request.protocols == ["paper"] and trained(request) == ["4 of 4"]
    for variant in VARIANTS:
        write_run(variant, 0, 40.0, protocol="equal")
    request = resolve()
    assert request.protocols == ["equal"] and trained(request) == []


def test_auto_shows_runs_in_float32_on_a_processor_that_is_slow_in_bfloat16(monkeypatch):
    monkeypatch.setattr(hardware, "is_fast_in_bfloat16", lambda device: False)
    for variant in VARIANTS:
        write_run(variant, 0, 40.0)
        spec = in_float32(RunSpec("caltech101", "resnet18", variant, "small"))
        write_run(variant, 0, 40.0, protocol=spec.protocol)
    request = resolve()
    assert request.protocols == [SMALL_IN_FLOAT32] and trained(request) == []


def test_auto_does_not_say_that_all_is_recorded_if_a_run_is_missing():
    for variant in list(VARIANTS)[:-1]:
        write_run(variant, 0, 40.0)
    assert len(resolve().specs) == 4


def test_a_named_protocol_is_obeyed():
    request = resolve(protocol="reduced", variant="lstn", seed=3)
    assert [(s.dataset, s.protocol.name, s.variant, s.seed) for s in request.specs] == [
        ("caltech101", "reduced", "lstn", 3)
    ]


@pytest.mark.parametrize("slow", [False, True])
def test_a_processor_that_is_slow_in_bfloat16_trains_small_in_float32_and_the_banner_says_so(
    slow, monkeypatch
):
    monkeypatch.setattr(hardware, "is_fast_in_bfloat16", lambda device: not slow)
    request = resolve(protocol="small", variant="lstn")
    assert [s.changes for s in request.specs] == [{"precision": "tf32"} if slow else {}]
    assert request.protocols == [SMALL_IN_FLOAT32 if slow else "small"]
    assert ("float32" in request.banner) == slow


def test_all_is_every_backbone_of_the_table():
    assert len(resolve(backbone="all", protocol="paper").specs) == 28


@pytest.mark.parametrize(
    "name, value, allowed",
    [
        ("page", 5, "6, 8"),
        ("page", "table6", "lenet"),
        ("backbone", "effb9", "effb5"),
        ("variant", "stm", "vstn"),
        ("dataset", "imagenet", "caltech101"),
        ("protocol", "papr", "reduced"),
        ("device", "tpu", "cpu"),
        ("seed", -1, "from 0"),
        ("seed", "one", "from 0"),
        ("seed", True, "from 0"),
        ("data_dir", 5, "path"),
        ("data_dir", 0, "path"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(name, value, allowed):
    with pytest.raises(InputError) as error:
        resolve(**{name: value})
    assert repr(value) in str(error.value) and allowed in str(error.value)


@pytest.mark.parametrize("backbone", ["published", "resnet18"])
def test_wrong_values_are_named_even_where_nothing_is_trained(backbone):
    with pytest.raises(InputError, match="seeds 9 "):
        notebook.resolve_experiment(backbone, "caltech101", "reduced", 9)
    with pytest.raises(InputError, match="'all-released'"):
        resolve(backbone=backbone, variant="all-released")


@pytest.mark.parametrize("data_dir", ["~nosuchuser/x", "/no/such/folder", "a\0b"])
@pytest.mark.parametrize("backbone", ["published", "resnet18"])
def test_a_wrong_data_folder_is_named_even_where_it_is_not_needed(data_dir, backbone):
    with pytest.raises(InputError, match="Data folder"):
        resolve(data_dir=data_dir, backbone=backbone)
    with pytest.raises(InputError, match="Data folder"):
        notebook.resolve_experiment(backbone, "caltech101", "reduced", 3, data_dir=data_dir)


def test_the_page_of_a_smaller_system_has_one_network():
    for backbone in ("published", "all", "cifar-cnn"):
        request = notebook.resolve("cifar-cnn", backbone, "all", "cifar10", "smoke", device="cpu")
        assert {spec.backbone for spec in request.specs} <= {"cifar-cnn"}
    with pytest.raises(InputError, match="'mnist-cnn'"):
        notebook.resolve("cifar-cnn", "mnist-cnn", "stn", "cifar10", "smoke", device="cpu")


def test_images_too_small_for_the_network_are_refused_before_any_is_read(monkeypatch):
    monkeypatch.setattr(notebook, "ensure_dataset", lambda *_: pytest.fail("read the dataset"))
    with pytest.raises(InputError, match="32") as error:
        resolve(backbone="alexnet", dataset="cifar10", protocol="system", variant="original")
    assert "\n" not in str(error.value)


def test_networks_that_fit_are_not_refused():
    names = [("resnet18", "constant"), ("resnet18", "lstn-released"), ("timm/resnet10t", "stn")]
    notebook.check_networks([RunSpec("digits", *name, "smoke") for name in names])
    notebook.check_networks([RunSpec("digits", "mnist-cnn", "tps", "system")])
