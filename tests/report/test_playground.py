"""The playground computes in the browser what torch computes, on real digits, with the weights of its records."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from helpers import real
from numpy.testing import assert_allclose

from stn_paper.analysis import frame
from stn_paper.data import datasets
from stn_paper.data.distortions import CANVAS, DIGIT, distort_digits, known_theta
from stn_paper.report import playground
from stn_paper.training import kept, records
from stn_paper.training.batches import network_input, normalize

COUNT = 50
TOLERANCE = 1e-4
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="needs node, which runs the page's script")


@pytest.fixture(scope="module")
def placed():
    """Fifty embedded digits, uint8 (50, 28, 28), and the maps (50, 2, 3) that place them on the canvas."""
    pixels, _ = datasets.embedded_digits()
    return pixels[:: len(pixels) // COUNT], known_theta("rts", COUNT)


@pytest.fixture(scope="module")
def inputs(placed):
    """The same digits as normalized inputs of the networks, float (50, 3, 42, 42)."""
    images = np.stack(list(distort_digits(placed[0], placed[1], "affine", CANVAS)))
    return normalize(torch.from_numpy(images).expand(-1, 3, -1, -1))


def node(expression, folder, data=None):
    """The value of an expression of network.js's functions, by node; `data` is its `DATA`."""
    script = (playground.FOLDER / "network.js").read_text(encoding="utf-8")
    networks = "".join(playground.network_scripts().values())
    file = folder / "script.js"
    file.write_text(
        f"globalThis.window = globalThis;\n{networks}\n{script}\nconst DATA = {json.dumps(data)};\n"
        f"const networks = opened(PLAYGROUND);\nconsole.log(JSON.stringify({expression}));",
        encoding="utf-8",
    )
    done = subprocess.run(["node", file], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
@pytest.mark.parametrize("variant", kept.PLAYGROUND_VARIANTS)
def test_the_browser_computes_what_torch_computes(variant, placed, inputs, tmp_path):
    expression = f"""DATA.map(([pixels, theta]) => {{
      const input = placed({{data: pixels, size: {DIGIT}}}, theta, {CANVAS});
      const {{theta: found, output, logits, probabilities}} = answer(networks, "{variant}", input, false);
      return [Array.from(input.data), found, Array.from(output.data), logits, probabilities];
    }})"""
    data = [[d.flatten().tolist(), t.flatten().tolist()] for d, t in zip(*placed)]
    image, theta, output, logits, probabilities = map(np.array, zip(*node(expression, tmp_path, data)))
    model = kept.load(f"digits-{variant}")
    with torch.no_grad():
        # in the browser's double precision, few grey levels round differently and change the input
        assert (np.abs(image - inputs[:, 0].flatten(1).numpy()) > 1e-6).mean() < 1e-4
        seen = torch.tensor(image, dtype=torch.float32).view(-1, 1, CANVAS, CANVAS).expand(-1, 3, -1, -1)
        expected = model(seen)
        assert_allclose(logits, expected, atol=TOLERANCE)
        assert_allclose(probabilities, expected.softmax(1), atol=TOLERANCE)
        if variant != "original":
            assert_allclose(theta, model.transformer.theta(seen).flatten(1), atol=TOLERANCE)
            assert_allclose(output, model.transformer(seen)[:, 0].flatten(1), atol=TOLERANCE)
            assert theta.std(0).min() > 0.01  # theta differs from digit to digit


@needs_node
def test_bypassed_networks_are_the_one_without_a_transformer(tmp_path):
    digit = playground.real_digits()[7].flatten().tolist()
    expression = f"""["lstn", "stn", "original"].map((name) => [false, true].map((bypassed) => {{
      const input = placed({{data: DATA, size: {DIGIT}}}, [1.6, 0.6, 0, -0.6, 1.6, 0], {CANVAS});
      return answer(networks, name, input, bypassed);
    }}))"""
    (lstn, stn, (alone, _)) = node(expression, tmp_path, digit)
    for used, bypassed in (lstn, stn):
        assert bypassed["logits"] == alone["logits"] != used["logits"]
        assert bypassed["theta"] == [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("dataset", ["gtsrb"])
def test_records_say_that_bypassed_networks_are_the_one_without_a_transformer(dataset, committed):
    """As the page's switch shows: bypassed, accuracies equal the original's, and theta stays the identity."""
    found = {
        (run.variant, run.seed): run.record for run in frame.runs(dataset, "system", "mnist-cnn").itertuples()
    }
    released = {key: r for key, r in found.items() if key[0] in ("lstn-released", "stn-released")}
    assert len(released) >= 10
    for (_, seed), record in released.items():
        alone = found["original", seed]
        for ours, theirs in zip(record["epochs"], alone["epochs"], strict=True):
            assert ours["test_accuracy"] == theirs["test_accuracy"]
            assert (ours["theta"]["mean"], ours["theta"]["std"]) == ([1, 0, 0, 0, 1, 0], [0] * 6)


@pytest.mark.parametrize("variant", kept.PLAYGROUND_VARIANTS)
def test_the_weights_are_those_of_the_record(variant, committed):
    record = records.find(kept.playground_spec(variant))
    model = kept.load(f"digits-{variant}")
    assert record["parameters"] == sum(p.numel() for p in model.parameters()) <= 75_000
    assert len(playground.network_script(variant, model).encode()) < 400_000
    assert kept.weights_path(kept.playground_spec(variant)).stem == records.spec_of(record).name


@pytest.fixture(scope="module")
def distorted(tmp_path_factory):
    """The listing of the real digits, their images on the canvas, and their split; to distort them takes seconds."""
    listing = real("mnist-rts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_PAPER_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = datasets.load_images("mnist-rts", CANVAS)
    return listing, data, datasets.split("mnist-rts", data, 0)


@pytest.mark.parametrize("variant", kept.PLAYGROUND_VARIANTS)
def test_the_weights_answer_the_test_images_as_the_record_says(variant, distorted, committed):
    record, model = records.find(kept.playground_spec(variant)), kept.load(f"digits-{variant}")
    _, data, split = distorted
    test = split.test[:1000]
    with torch.no_grad():
        logits = model(network_input(data.images[test], torch.device("cpu"), "half", data.images.shape[-1]))
    right = (logits.argmax(1) == data.labels[test]).numpy()
    packed = np.frombuffer(base64.b64decode(record["test"]["correct"]), np.uint8)
    assert (right != np.unpackbits(packed)[:1000]).sum() <= 1  # another processor may round a tie otherwise


def test_the_real_digits_were_not_trained_on(distorted):
    listing, _, split = distorted
    items = np.stack([np.ravel(item) for item in listing.items[: listing.test_start]]).astype(np.float32)
    digits = playground.real_digits().reshape(10, -1).astype(np.float32)
    nearest = (np.square(items).sum(1)[:, None] - 2 * items @ digits.T).argmin(0).tolist()
    assert [listing.labels[i] for i in nearest] == list(range(10))
    assert set(nearest) <= set(split.validation.tolist())


def test_the_html_needs_nothing_else_and_is_the_same_every_time():
    html = playground.playground().data
    assert html == playground.playground().data
    assert len(html.encode()) < 60_000
    assert not re.search(r"https?:|//\w+\.\w|\bsrc=|\bhref=|@import|require\(|\bid=", html)


def test_a_layer_that_the_page_does_not_know_is_an_error():
    with pytest.raises(TypeError, match="Sigmoid"):
        playground.export_layers(torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), torch.nn.Sigmoid()))
