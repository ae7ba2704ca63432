"""timm's own `train.py` with `lstn_resnet50` on the embedded digits: `python -m benchmarks.timm_training TRAIN.PY`.

`train.py` is in timm's repository, not in its packages: download it from there. It runs unchanged, in a process that
has imported our networks' names. Writes `timm_training.csv`: a row an epoch, then a row for the loaded checkpoint.
"""

import argparse
import csv
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_model_data_config
from timm.utils import AverageMeter, accuracy

import stn_paper.models.timm_models  # noqa: F401 (registers the names)
from stn_paper.data import load_images, split
from stn_paper.training import hardware

from .measuring import commit

OUT = Path(__file__).with_suffix(".csv")
MODEL, SIZE, CLASSES = "lstn_resnet50", 32, 10
EPOCHS, IMAGES, SEED = 15, 2000, 0
ARGUMENTS = (
    f"--model {MODEL} --num-classes {CLASSES} --model-kwargs img_size={SIZE} --opt adamw --lr 1e-3 "
    "--weight-decay 0.05 --warmup-epochs 0 --batch-size 64 --scale 0.7 1 --hflip 0 --crop-pct 1 --workers 1"
).split()
LAUNCH = """
import runpy, sys, torch
import stn_paper.models.timm_models
if not torch.cuda.is_available():
    torch.cuda.synchronize = lambda: None  # older versions of train.py call it on every machine
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def write_folder(root, train_images):
    """Write the digits as the folders that timm reads: `root`/train/CLASS/*.png and `root`/validation."""
    data = load_images("digits", SIZE)
    parts = split("digits", data, SEED)
    for name, chosen in (("train", parts.train[:train_images]), ("validation", parts.validation)):
        for index in chosen:
            folder = root / name / str(int(data.labels[index]))
            folder.mkdir(parents=True, exist_ok=True)
            pixels = torch.as_tensor(data.images[index]).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / f"{index}.png")


def train(script, root, epochs):
    """Run timm's `script` on the images in the folder `root`; its summary and checkpoints are in `root`/out."""
    config = root / "device.yaml"  # only newer versions of train.py have an argument for the device
    config.write_text(f"device: {hardware.check_device('auto')}\n", encoding="utf-8")
    folders = ["--data-dir", root, "--output", root, "--experiment", "out"]
    command = [sys.executable, "-c", LAUNCH, script, "--config", config, "--epochs", epochs]
    subprocess.run([str(part) for part in (*command, *folders, *ARGUMENTS)], check=True)


@torch.no_grad()
def validate(checkpoint, root):
    """Return the loaded checkpoint's top-1 accuracy (percent) and theta's largest standard deviation over images."""
    model = timm.create_model(MODEL, num_classes=CLASSES, img_size=SIZE, checkpoint_path=str(checkpoint))
    settings = resolve_model_data_config(model) | {"crop_pct": 1.0}
    settings = {key: settings[key] for key in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    images = create_dataset("", root / "validation", split="")
    loader = create_loader(
        images, batch_size=250, is_training=False, num_workers=0, use_prefetcher=False, **settings
    )
    top, thetas = AverageMeter(), []
    for batch, labels in loader:
        top.update(accuracy(model.eval()(batch), labels)[0].item(), len(batch))
        thetas.append(model.transformer.last_theta)
    return round(top.avg, 2), round(torch.cat(thetas).std(0).max().item(), 4)


def write_table(script, root, out):
    """Write the CSV `out` of the training by timm's `script` that `train` ran in the folder `root`."""
    with (root / "out/summary.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            {
                "epoch": int(row["epoch"]) + 1,
                "loss": round(float(row["train_loss"]), 4),
                "top-1 (%)": round(float(row["eval_top1"]), 2),
            }
            for row in csv.DictReader(file)
        ]
    reached, deviation = validate(root / "out/model_best.pth.tar", root)
    last = {"epoch": "best checkpoint, loaded", "top-1 (%)": reached, "largest deviation of theta": deviation}
    versions = {
        "model": MODEL,
        "timm": timm.__version__,
        "torch": torch.__version__,
        "train.py": hashlib.sha256(script.read_bytes()).hexdigest()[:12],
        "commit": commit(),
    }
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*rows[0], "largest deviation of theta", *versions], lineterminator="\n")
        table.writeheader()
        table.writerows(row | versions for row in (*rows, last))


def main(arguments=None):
    """Train and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timm_training", description=__doc__)
    parser.add_argument("script", type=Path, metavar="TRAIN.PY", help="of timm's repository")
    parser.add_argument("--out", default=OUT, type=Path, metavar="FILE", help="CSV")
    parser.add_argument("--epochs", default=EPOCHS, type=int)
    parser.add_argument("--images", default=IMAGES, type=int, help="of training")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), options.images)
        train(options.script, Path(folder), options.epochs)
        write_table(options.script, Path(folder), options.out)


if __name__ == "__main__":
    main()
