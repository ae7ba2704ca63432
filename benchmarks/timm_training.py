"""timm's training parts with `lstn_resnet18` on the embedded digits: `python -m benchmarks.timm_training`.

timm's own `train.py` is not in its wheel or source archive. What it calls is called here in its order: data
set and loader, optimizer, scheduler, loss, averaged weights, checkpoint. Writes `timm_training.csv`, an epoch
a row.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_model_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.models import load_checkpoint
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, CheckpointSaver, ModelEmaV3, accuracy

import stn_paper.models.timm_models  # noqa: F401 (registers the names)
from stn_paper.data import load, split
from stn_paper.training import hardware

OUT = Path(__file__).with_suffix(".csv")
MODEL, SIZE, CLASSES = "lstn_resnet18", 32, 10
BATCH, EPOCHS, IMAGES, SEED = 64, 5, 2000, 0
OPTIMIZER = {"opt": "adamw", "lr": 1e-3, "weight_decay": 0.05}


def write_folder(root, train_images):
    """Write the digits as the folders that timm reads: `root`/train/CLASS/*.png and `root`/validation."""
    data = load("digits", SIZE)
    parts = split("digits", data, SEED)
    for name, chosen in (("train", parts.train[:train_images]), ("validation", parts.validation)):
        for index in chosen:
            folder = root / name / str(int(data.labels[index]))
            folder.mkdir(parents=True, exist_ok=True)
            pixels = torch.as_tensor(data.images[index]).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / f"{index}.png")


def loaders(root, settings):
    """timm's loaders of the training and the validation images, with its own augmentation but no flips."""
    shared = {
        **{key: settings[key] for key in ("input_size", "mean", "std", "interpolation")},
        "batch_size": BATCH,
        "num_workers": 0,
        "use_prefetcher": False,
        "device": torch.device("cpu"),
    }
    sets = [
        create_dataset("", root / name, split="", is_training=name == "train")
        for name in ("train", "validation")
    ]
    return (
        create_loader(sets[0], is_training=True, hflip=0.0, scale=(0.7, 1.0), **shared),
        create_loader(sets[1], is_training=False, crop_pct=1.0, **shared),
    )


def train_epoch(model, loader, optimizer, scheduler, averaged, epoch):
    """The mean loss of an epoch of training."""
    model.train()
    loss_of, losses = LabelSmoothingCrossEntropy(0.1), AverageMeter()
    for number, (images, labels) in enumerate(loader):
        loss = loss_of(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step = epoch * len(loader) + number + 1
        averaged.update(model, step=step)
        scheduler.step_update(step)
        losses.update(loss.item(), len(images))
    return losses.avg


@torch.no_grad()
def validate(model, loader):
    """Top-1 accuracy in percent."""
    model.eval()
    top = AverageMeter()
    for images, labels in loader:
        top.update(accuracy(model(images), labels)[0].item(), len(images))
    return top.avg


def rows(root, epochs=EPOCHS):
    """Train on the images in the folder `root`: a row an epoch, then one for the loaded checkpoint."""
    torch.manual_seed(SEED)
    model = timm.create_model(MODEL, num_classes=CLASSES, img_size=SIZE)
    training, validation = loaders(root, resolve_model_data_config(model))
    optimizer = create_optimizer_v2(model, **OPTIMIZER)
    scheduler, _ = create_scheduler_v2(
        optimizer, "cosine", num_epochs=epochs, warmup_epochs=1, warmup_lr=1e-5, step_on_epochs=False,
        updates_per_epoch=len(training),
    )  # fmt: skip
    averaged = ModelEmaV3(model, decay=0.99)
    saver = CheckpointSaver(
        model,
        optimizer,
        model_ema=averaged,
        checkpoint_dir=str(root),
        recovery_dir=str(root),
        decreasing=False,
    )
    for epoch in range(epochs):
        loss = train_epoch(model, training, optimizer, scheduler, averaged, epoch)
        reached = validate(model, validation)
        saver.save_checkpoint(epoch, metric=reached)
        average = validate(averaged, validation)
        theta = model.transformer.last_theta
        yield {
            "epoch": epoch + 1,
            "loss": round(loss, 4),
            "top-1 (%)": round(reached, 2),
            "top-1 of averaged weights (%)": round(average, 2),
            "largest deviation of theta": round(theta.std(0).max().item(), 4),
        }
    best = timm.create_model(MODEL, num_classes=CLASSES, img_size=SIZE)
    load_checkpoint(best, str(root / "model_best.pth.tar"), use_ema=False)
    yield {"epoch": "best checkpoint, loaded", "top-1 (%)": round(validate(best, validation), 2)}


def main(arguments=None):
    """Train and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timm_training", description=__doc__)
    parser.add_argument("--out", default=OUT, type=Path, metavar="FILE", help="CSV")
    parser.add_argument("--epochs", default=EPOCHS, type=int)
    parser.add_argument("--images", default=IMAGES, type=int, help="of training")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), options.images)
        found = list(rows(Path(folder), options.epochs))
    made = {"model": MODEL, "timm": timm.__version__, "torch": torch.__version__, "commit": hardware.commit()}
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*found[0], *made], lineterminator="\n")
        table.writeheader()
        table.writerows(row | made for row in found)


if __name__ == "__main__":
    main()
