"""Moving pictures: theta set by sliders, during a training, and for a moving input.

Maps theta are (2, 3), by the convention of `models.transforms`. `explorer` fills explorer.html (form and style) with
explorer.js (the sampler in the browser). Animations are GIFs, each with a still strip for print.
"""

import base64
import io
import json
from string import Template

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML
from IPython.display import Image as Picture
from matplotlib import get_data_path
from matplotlib.colors import to_hex
from PIL import Image, ImageDraw, ImageFont

from ..models.transformer import affine_theta, sample, sampling_grid
from ..paths import PACKAGE
from ..training.batches import normalize
from ..training.examples import move_images
from .figures import close_figure
from .paper_figures import CORNER_STYLES, outline, shear

FRAME, LAST_FRAME = 150, 2500  # milliseconds of a frame, and of the last frame
GAP, TITLE, BAR = 8, 18, 8  # pixels: between pictures, heights of title and bar
COLOURS = 64  # number of colours of a whole GIF
BLACK = -1.0  # in the networks' input
INK, BAR_GROUND, BAR_FILL, OUTLINE = "#262626", "#d9d9d9", "#0173b2", "#de8f05"


# --- the explorer -------------------------------------------------------------------------------


def explorer(image, size=340):
    """HTML with sliders that set theta, `image` with the region that theta reads, and the output.

    `image` is uint8 (1, 3, S, S); S up to 200 keeps the HTML below 200 kB. Each of the two pictures is at most `size`
    pixels wide on the page. The reader's browser computes everything.
    """
    corners = [(mark, to_hex(color)) for mark, color in CORNER_STYLES]
    parts = {
        "photo": base64.b64encode(_png(image)).decode(),
        "size": size,
        "script": (PACKAGE / "report/explorer.js").read_text(encoding="utf-8").strip(),
        "corners": json.dumps(corners),
        "every": max(1, round(image.shape[-1] / 16)),
    }
    return HTML(Template((PACKAGE / "report/explorer.html").read_text(encoding="utf-8")).substitute(parts))


def slider_theta(rotation=0.0, scale=1.0, shift=(0.0, 0.0), shear_x=0.0):
    """The explorer's theta (2, 3): the output's square sheared, then scaled, turned and shifted.

    Without a shear it equals `affine_theta`; with nothing but a shear it equals `paper_figures.shear`.
    """
    theta = affine_theta(rotation, scale, shift)
    return torch.cat([theta[:, :2] @ shear(shear_x)[:, :2], theta[:, 2:]], 1)


def explorer_verdict():
    """The effects of the sliders, computed on a grid of 160 x 160 points, in words."""
    half, turned = slider_theta(scale=0.5), slider_theta(rotation=45)
    areas = [f"{torch.det(theta[:, :2]):.0%}" for theta in (half, slider_theta(shear_x=0.4), turned)]
    outside = (sampling_grid(turned[None], 160, 160).abs() > 1).any(-1).float().mean()
    return (
        f"Only scale changes the area of the region that theta reads: it is {areas[0]} of the input's area at a scale "
        f"of 0.5, {areas[1]} at a shear of 0.4 and {areas[2]} at a rotation by 45 degrees. With this rotation, "
        f"{outside:.0%} of the output's pixels lie outside the input, where the sampler reads mid-grey."
    )


# --- animations ---------------------------------------------------------------------------------


def training_animation(images, steps, theta, zoom=2):
    """A GIF of what a transformer learns: a frame for each of K training steps, a row for each image.

    `images` are uint8 (N, C, S, S), `steps` K numbers of training steps (0 is before the training), and `theta`
    (K, N, 2, 3). Left is the input with the outline of the sampled region, as far as it lies within the image. Right is
    the output. A pixel of an image is drawn as `zoom` x `zoom` pixels.
    """
    inputs, total = _as_input(images), steps[-1]
    frames = [_input_output_picture(inputs, maps, zoom) for maps in theta]
    bars = [(step / max(total, 1), f"step {step:,} of {total:,}") for step in steps]
    return _gif(frames, bars, f"What the transformer makes of {len(images)} images during {total:,} steps")


def training_strip(images, steps, theta, count=6):
    """Figure with `count` frames of `training_animation`, evenly chosen, the first and the last included."""
    inputs, chosen = _as_input(images), _evenly(len(steps), count)
    return _strip(
        [_input_output_picture(inputs, theta[k], 2) for k in chosen], [f"step {steps[k]:,}" for k in chosen]
    )


def motion_animation(image, maps, theta, zoom=4):
    """Return a GIF of a moving input beside the transformer's output, with one frame for each of K maps.

    `image` is uint8 (1, C, S, S); `maps` (K, 2, 3) move it; `theta` (K, 2, 3) are the predictions for the moved
    images. Left is the moved input with the sampled outline, right the output.
    """
    inputs = _moved(image, maps)
    frames = [
        _input_output_picture(moved[None], predicted[None], zoom) for moved, predicted in zip(inputs, theta)
    ]
    bars = [(k / len(maps), f"position {k} of {len(maps)}") for k in range(1, len(maps) + 1)]
    return _gif(frames, bars, "A moving input and the transformer's output")


def motion_strip(image, maps, theta, count=6):
    """Figure with `count` frames of `motion_animation`, evenly chosen, the first and the last included."""
    inputs, chosen = _moved(image, maps), _evenly(len(maps), count)
    frames = [_input_output_picture(inputs[k : k + 1], theta[k : k + 1], 2) for k in chosen]
    return _strip(frames, [f"position {k + 1}" for k in chosen])


def output_variance(image, maps, theta):
    """How much the picture of a moving input changes: (with, without) the transformer, from 0 to 1.

    Arguments are those of `motion_animation`. It is the variance of each pixel over the K frames, averaged over
    pixels, as a share of the variance over pixels and frames together: 0 for a picture that stands still. Contrast
    does not matter. Outside the input the output is black, as the input's background: a grey frame that stands still
    would lower the share.
    """
    inputs = _moved(image, maps)
    outputs = sample(inputs, sampling_grid(theta, *inputs.shape[-2:]), padding=BLACK)
    shares = [v.var(0, correction=0).mean() / v.var(correction=0) for v in (outputs, inputs)]
    return shares[0].item(), shares[1].item()


# --- drawing ------------------------------------------------------------------------------------


def _as_input(images):
    """Return the networks' input, float (B, 3, S, S), of uint8 images (B, C, S, S), C being 1 or 3."""
    return normalize(images.expand(-1, 3, -1, -1))


def _moved(image, maps):
    return _as_input(move_images(image, maps))


def _evenly(length, count):
    return torch.linspace(0, length - 1, min(count, length)).round().int().tolist()


def _as_image(image):
    """A normalized image (3, S, S) as a picture."""
    levels = (127.5 * (image + 1)).round().clamp(0, 255).byte()
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


@torch.no_grad()
def _input_output_picture(inputs, theta, zoom):
    """A picture with a row for each of `inputs` (N, 3, S, S): itself with theta's outline, and the output."""
    outputs = sample(inputs, sampling_grid(theta, *inputs.shape[-2:]))
    side = zoom * inputs.shape[-1]
    pitch = side + GAP
    picture = Image.new("RGB", (GAP + 2 * pitch, GAP + len(inputs) * pitch), "white")
    draw = ImageDraw.Draw(picture)
    for row, (before, after, one) in enumerate(zip(inputs, outputs, theta)):
        top = GAP + row * pitch
        panels = [_as_image(i).resize((side, side), Image.Resampling.NEAREST) for i in (before, after)]
        corners = ((outline(one)[[0, 1, 2, 3, 0]] + 1) / 2 * (side - 1)).round().flatten().tolist()
        for color, width in ((INK, 4), (OUTLINE, 2)):
            ImageDraw.Draw(panels[0]).line(corners, color, width, joint="curve")
        for left, panel in zip((GAP, GAP + pitch), panels):
            draw.rectangle((left - 1, top - 1, left + side, top + side), outline=BAR_GROUND)
            picture.paste(panel, (left, top))
    return picture


def _with_progress_bar(picture, share, text):
    """Return the picture with column titles above it, and a progress bar and `text` below it; `share` is 0 to 1."""
    width, height = picture.width, picture.height + 2 * TITLE + BAR
    frame = Image.new("RGB", (width, height), "white")
    frame.paste(picture, (0, TITLE))
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12)
    draw = ImageDraw.Draw(frame)
    for place, title in ((0.25, "input"), (0.75, "output")):
        draw.text((GAP / 2 + place * (width - GAP), TITLE / 2 + 3), title, INK, font, "mm")
    top, right = TITLE + picture.height, width - GAP - 1
    draw.rectangle((GAP, top, right, top + BAR - 1), BAR_GROUND)
    draw.rectangle((GAP, top, GAP + round(share * (right - GAP)), top + BAR - 1), BAR_FILL)
    draw.text((width / 2, top + BAR + TITLE / 2), text, INK, font, "mm")
    return frame


def _gif(pictures, bars, text):
    """Return pictures of equal size as a GIF that loops and pauses at its end; `bars`: (share, text) of each picture.

    All frames have the same colours.
    """
    frames = [_with_progress_bar(picture, *bar) for picture, bar in zip(pictures, bars)]
    width, height = frames[0].size
    stacked_frames = Image.new("RGB", (width, height * len(frames)))
    for k, frame in enumerate(frames):
        stacked_frames.paste(frame, (0, k * height))
    stacked_frames = stacked_frames.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    boxes = [(0, k * height, width, (k + 1) * height) for k in range(len(frames))]
    first, *others = map(stacked_frames.crop, boxes)
    times = [FRAME] * len(others) + [LAST_FRAME]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=times, loop=0, optimize=True)
    return Picture(file.getvalue(), format="gif", alt=text)


def _strip(pictures, titles):
    across, width = min(3, len(pictures)), 1.9
    down = -(-len(pictures) // across)
    height = width * pictures[0].height / pictures[0].width + 0.3
    figure, axes = plt.subplots(down, across, figsize=(across * width, down * height + 0.3), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, title in zip(axes.flat, pictures, titles):
        axis.imshow(picture)
        axis.set_title(title, size=11)
    figure.supxlabel("left the input and the outline of what is read, right the output", size=11)
    return close_figure(figure)


def _png(image):
    """PNG of uint8 (1, 3, S, S), without compression, because compressors differ between machines."""
    file = io.BytesIO()
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(file, "PNG", compress_level=0)
    return file.getvalue()
