"""A transformer and any picture: reading the picture, learning from it, and the verdict."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from stn_paper.errors import InputError
from stn_paper.models.transformer import affine_theta, invert
from stn_paper.report import own_picture


def test_the_central_square_of_any_image_file_is_read(tmp_path):
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    image = own_picture.read_picture(str(tmp_path / "wide.png"))
    assert image.shape == (1, 3, 64, 64) and image.dtype == torch.uint8
    assert image.min() == 200


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    pixels = np.random.RandomState(0).randint(0, 255, (80, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "damaged.png")
    whole = (tmp_path / "damaged.png").read_bytes()
    (tmp_path / "damaged.png").write_bytes(whole[:60] + b"x" * 40 + whole[100:])
    for path in (tmp_path / "notes.txt", tmp_path / "missing.png", tmp_path / "damaged.png"):
        with pytest.raises(InputError, match=f"'{path}'"):
            own_picture.read_picture(str(path))


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 200  # bright above
    exif = Image.Exif()
    exif[274] = 3  # orientation: upside down
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = own_picture.read_picture(str(tmp_path / "turned.png"))
    assert image[0, 0, 0, 0] == 0 and image[0, 0, -1, 0] == 200


def test_maps_are_within_their_ranges_and_the_same_each_time():
    maps = own_picture.random_maps(300, 5)
    assert torch.equal(maps, own_picture.random_maps(300, 5))
    scale = torch.linalg.det(maps[:, :, :2]).sqrt()
    turn = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert 0.8 <= scale.min() < 0.82 and 1.18 < scale.max() <= 1.2
    assert 28 < turn.abs().max() <= 30 and 0.19 < maps[..., 2].abs().max() <= 0.2


def test_the_picture_alone_teaches_the_transformer():
    picture = own_picture.read_picture()
    transformer, losses = own_picture.learn(picture, "lstn", steps=60)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert own_picture.learn(picture, "lstn", steps=3)[1] == losses[:3]
    figure = own_picture.restoration_plot(picture, transformer, count=2)
    assert len(figure.axes) == 4


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"steps": 0}, "steps 0 "),
        ({"steps": 2.5}, "steps 2.5 "),
        ({"seed": -1}, "Seed -1 .* 0 to 4294967295"),
        ({"seed": 2**32}, "Seed 4294967296 "),
    ],
)
def test_a_wrong_number_is_named(wrong, named):
    with pytest.raises(InputError, match=named):
        own_picture.learn(own_picture.read_picture(), **wrong)


def test_the_verdict_names_the_share_that_is_undone():
    picture = own_picture.read_picture()

    class Exact:
        def theta(self, images):
            return invert(own_picture.random_maps(len(images), 10**6))

    class Identity:
        def theta(self, images):
            return affine_theta()[None].expand(len(images), 2, 3)

    class Half:
        def theta(self, images):
            turns = np.degrees([np.arctan2(m[1, 0], m[0, 0]) for m in Exact().theta(images).numpy()])
            return torch.stack([affine_theta(0.6 * turn) for turn in turns])

    verdict = partial(own_picture.restoration_verdict, picture)

    def shares(transformer):
        names = "|".join(own_picture.SHARE_NAMES)
        return re.findall(rf"(?:less|more) than (?:{names})", verdict(transformer, "lstn"))

    assert verdict(Identity(), "lstn").count("less than a quarter") == 3
    assert verdict(Exact(), "vstn").count("more than half") == 3
    # of rotation, scale and shift
    assert shares(Half()) == ["more than half", "less than a quarter", "less than a quarter"]
