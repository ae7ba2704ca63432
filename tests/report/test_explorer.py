"""The explorer's script gives the package's theta and output, and the animations draw the outputs of theta."""

import io
import json
import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose
from PIL import Image

from stn_paper.models.transformer import affine_theta, sample, sampling_grid
from stn_paper.paths import PACKAGE
from stn_paper.report import explorer, paper_figures
from stn_paper.training.batches import normalize

SETTING = {"rotation": -37.0, "scale": 0.83, "x": 0.21, "y": -0.4, "shear": 0.55}
IDENTITY = affine_theta()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def python_theta(rotation, scale, x, y, shear):
    return explorer.slider_theta(rotation, scale, (x, y), shear)


def grey_levels(image, theta):
    """The package's output (S, S, 3) in grey levels from 0 to 255."""
    out = sample(normalize(image), sampling_grid(theta[None], *image.shape[-2:]))
    return (127.5 * (out[0] + 1)).permute(1, 2, 0).numpy()


def javascript(expression, folder):
    """The value of an expression of the explorer's functions, by node."""
    if not shutil.which("node"):
        pytest.skip("needs node, which runs the explorer's script outside of a browser")
    script = (PACKAGE / "report/explorer.js").read_text(encoding="utf-8")
    file = folder / "script.js"
    file.write_text(f"{script}\nconsole.log(JSON.stringify({expression}));", encoding="utf-8")
    done = subprocess.run(["node", file], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def frames(picture):
    gif = Image.open(io.BytesIO(picture.data))
    for k in range(gif.n_frames):
        gif.seek(k)
        yield np.array(gif.convert("RGB")), gif.info["duration"]


# --- the explorer -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image():
    return paper_figures.photograph(32)


def test_sliders_without_a_shear_are_affine_theta():
    torch.testing.assert_close(
        explorer.slider_theta(25, 0.7, (0.1, -0.3)), affine_theta(25, 0.7, (0.1, -0.3)), rtol=0, atol=0
    )
    torch.testing.assert_close(explorer.slider_theta(shear_x=0.4), paper_figures.shear(0.4), rtol=0, atol=0)


def test_the_square_is_sheared_before_it_is_turned():
    theta = explorer.slider_theta(90, 2, (0.5, 0), 0.25)
    top_left = torch.tensor([-1.0, -1.0])
    sheared = torch.tensor([-1.25, -1.0])
    turned = 2 * torch.tensor([-sheared[1], sheared[0]])  # clockwise: the right goes to the bottom
    assert_allclose(theta[:, :2] @ top_left + theta[:, 2], turned + torch.tensor([0.5, 0]), atol=1e-6)


@pytest.mark.parametrize("setting", [SETTING, {**SETTING, "shear": 0.0}, {**SETTING, "rotation": 180.0}])
def test_the_browsers_theta_is_ours(setting, tmp_path):
    assert_allclose(
        javascript(f"thetaOf({json.dumps(setting)})", tmp_path), python_theta(**setting), atol=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_browsers_output_is_ours(seed, image, tmp_path):
    generator = torch.Generator().manual_seed(seed)
    theta = IDENTITY + 0.5 * torch.randn(2, 3, generator=generator)
    rgba = torch.cat([image[0], torch.full_like(image[0, :1], 255)]).permute(1, 2, 0).flatten().tolist()
    picture = f"{{data: {rgba}, width: 32, height: 32}}"
    out = javascript(f"Array.from(sampled({picture}, {theta.tolist()}))", tmp_path)
    out = np.array(out).reshape(32, 32, 4)
    assert_allclose(out[..., :3], grey_levels(image, theta), atol=1)
    assert (out[..., 3] == 255).all() and out[..., :3].std() > 10


def test_the_html_needs_nothing_else_and_is_the_same_every_time():
    html = explorer.explorer(paper_figures.photograph(160)).data
    assert html == explorer.explorer(paper_figures.photograph(160)).data
    assert len(html.encode()) < 200_000
    assert not re.search(r"https?:|//\w+\.|\bsrc=|\bhref=|@import|require\(|\bid=", html)
    assert html.count("data:image/png;base64,") == 1


def test_every_slider_has_a_label_and_a_unit():
    html = explorer.explorer(paper_figures.photograph(16)).data
    labels = re.findall(r"<label>(.*?)</label>", html, re.DOTALL)
    assert [re.search(r'name="(\w+)"', label)[1] for label in labels] == [
        "rotation",
        "scale",
        "x",
        "y",
        "shear",
    ]
    for label in labels:
        assert "<small>" in label and "data-unit=" in label and 'type="range"' in label
    assert (
        html.count("<canvas")
        == html.count("<canvas data-part=")
        == len(re.findall("<canvas[^>]+aria-label", html))
    )


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium, which moves the sliders of a page")
def test_two_explorers_on_a_page_move_alone_and_show_our_output(image, tmp_path):
    page = tmp_path / "page.html"
    html = explorer.explorer(image).data
    page.write_text(
        f"""<!doctype html><meta charset="utf-8">{html}{html}<pre></pre><script>
        onload = () => setTimeout(() => {{
          const [first, second] = document.querySelectorAll(".stn-explorer");
          const output = (root) => root.querySelector("[data-part=output]").getContext("2d");
          const state = (root) => ({{
            theta: [...root.querySelectorAll(".matrix span")].map((span) => span.textContent),
            pixels: [...output(root).getImageData(0, 0, 32, 32).data],
            said: root.querySelector("input").getAttribute("aria-valuetext"),
          }});
          const before = state(first);
          for (const [name, value] of Object.entries({json.dumps(SETTING)})) {{
            const slider = second.querySelector(`[name=${{name}}]`);
            slider.value = value;
            slider.dispatchEvent(new Event("input", {{bubbles: true}}));
          }}
          const moved = state(second), after = state(first);
          second.querySelector("button").click();
          document.querySelector("pre").textContent = JSON.stringify([before, after, moved, state(second)]);
        }}, 500);</script>""",
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    before, after, moved, reset = json.loads(re.search(r"<pre>(.*?)</pre>", dump, re.DOTALL)[1])
    assert before == after
    shown = [float(number.replace("−", "-")) for number in moved["theta"]]
    theta = python_theta(**SETTING)
    assert_allclose(shown, theta.flatten(), atol=0.0051)
    assert moved["said"] == "−37 degrees"
    assert_allclose(np.reshape(moved["pixels"], (32, 32, 4))[..., :3], grey_levels(image, theta), atol=1)
    assert reset["theta"] == ["1.00", "0.00", "0.00", "0.00", "1.00", "0.00"]
    assert_allclose(np.reshape(reset["pixels"], (32, 32, 4))[..., :3], image[0].permute(1, 2, 0), atol=0)


def test_the_verdict_states_the_computed_shares():
    percents = re.findall(r"\d+%", explorer.explorer_verdict())
    assert percents == ["25%", "100%", "100%", "17%"]  # the last is 3 - 2 * sqrt(2)


# --- animations ---------------------------------------------------------------------------------

STEPS = [0, 100, 1000]


@pytest.fixture(scope="module")
def training():
    """Two grey images (2, 1, 20, 20) and theta (3, 2, 2, 3) that starts at the identity."""
    images = torch.randint(0, 256, (2, 1, 20, 20), generator=torch.Generator().manual_seed(0)).byte()
    ends = torch.stack([affine_theta(40, 0.5), affine_theta(shift=(3, 3))])
    return images, STEPS, torch.stack([torch.lerp(IDENTITY, ends, share) for share in (0.0, 0.5, 1.0)])


def test_a_training_has_a_frame_a_step_and_the_last_stays(training):
    shown = list(frames(explorer.training_animation(*training)))
    assert [duration for _, duration in shown] == [explorer.FRAME, explorer.FRAME, explorer.LAST_FRAME]
    assert Image.open(io.BytesIO(explorer.training_animation(*training).data)).info["loop"] == 0
    bars = [(np.abs(frame.astype(int) - (1, 115, 178)).sum(-1) < 60).sum() for frame, _ in shown]
    assert bars == [explorer.BAR * across for across in (1, 10, 88)]  # 2 * 40 + GAP is the whole


def test_a_frame_shows_inputs_outlines_and_outputs(training):
    images, _, theta = training
    picture = np.array(explorer._input_output_picture(explorer._as_input(images), theta[2], 2)).astype(int)
    side, gap = 40, explorer.GAP
    left, right = (
        picture[gap : gap + side, gap : gap + side],
        picture[gap : gap + side, 2 * gap + side :][:, :side],
    )
    expected = grey_levels(images[:1].expand(-1, 3, -1, -1), theta[2, 0])
    assert_allclose(right[::2, ::2], expected, atol=1)
    corners = (paper_figures.outline(theta[2, 0]) + 1) / 2 * (side - 1)
    for x, y in ((corners + corners.roll(1, 0)) / 2).round().int().tolist():  # the middle of each side
        near = left[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3) / 255
        assert explorer.OUTLINE in map(to_hex, near)
    below = picture[2 * gap + side :]
    untouched = grey_levels(images[1:].expand(-1, 3, -1, -1), IDENTITY)
    assert_allclose(below[:side, gap : gap + side][::2, ::2], untouched, atol=1)  # the outline lies outside
    assert (below[:side, 2 * gap + side :][:, :side] == 128).all()  # where nothing is but mid-grey


def test_animations_are_the_same_every_time_and_small():
    image = paper_figures.photograph(42)
    theta = torch.stack([affine_theta(90 * k / 39, 1 - k / 80) for k in range(40)])
    images, maps = image.expand(4, -1, -1, -1), theta[:, None].expand(-1, 4, -1, -1)
    for draw, arguments in (
        (explorer.training_animation, (images, list(range(40)), maps)),
        (explorer.motion_animation, (image, theta, theta)),
    ):
        data = draw(*arguments).data
        assert data == draw(*arguments).data and len(data) < 700_000


def test_a_strip_has_the_first_and_the_last_frame(training):
    images, _, theta = training
    for figure, titles in (
        (explorer.training_strip(*training), ["step 0", "step 100", "step 1,000"]),
        (explorer.motion_strip(images[:1], theta[:, 0], theta[:, 1], count=2), ["position 1", "position 3"]),
    ):
        assert [axis.get_title() for axis in figure.axes] == titles
        assert not plt.fignum_exists(figure.number)
    pairs = explorer._input_output_picture(explorer._as_input(images), theta[2], 2)
    assert_allclose(explorer.training_strip(*training).axes[-1].images[0].get_array(), pairs)


def test_the_right_theta_undoes_the_motion():
    image = torch.zeros((1, 1, 40, 40), dtype=torch.uint8)  # on black, so that no border moves
    image[..., 12:28, 16:24] = 255
    maps = torch.stack([affine_theta(10 * k, 1.1, (0.02 * k, 0.01 * k)) for k in range(12)])
    whole = torch.cat([maps, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(12, 1, 3)], 1)
    with_it, without = explorer.output_variance(image, maps, torch.linalg.inv(whole)[:, :2])
    same, still = (
        explorer.output_variance(image, m, IDENTITY.expand(12, 2, 3))
        for m in (maps, maps[:1].expand(12, 2, 3))
    )
    assert with_it < 0.2 * without
    assert same == pytest.approx((without, without), rel=1e-4)
    assert still == pytest.approx((0, 0), abs=1e-9)


def test_variance_is_a_share_that_contrast_does_not_change():
    white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    maps = torch.stack([IDENTITY, affine_theta(shift=(5.0, 0.0))])  # white, then black
    assert explorer.output_variance(white, maps, IDENTITY.expand(2, 2, 3)) == pytest.approx((1, 1))
    half = torch.cat([white[..., :4], 0 * white[..., 4:]], -1)  # a quarter of all pixels is white
    both = explorer.output_variance(half, maps, IDENTITY.expand(2, 2, 3))
    assert both == pytest.approx(explorer.output_variance(half // 5, maps, IDENTITY.expand(2, 2, 3)))
    assert both == pytest.approx((2 / 3, 2 / 3))
