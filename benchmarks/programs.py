"""The training loops to compare; each function returns a call that makes one step.

All train the same network from the same weights with Adam at the paper's learning rate. `ours` calls the package's own
functions; `plain` is the loop of the paper's author; `timm_step` is timm's step with its fastest settings; `tuned` is
a loop of a few lines with the settings that guides to PyTorch recommend; `lightning` is the `fit` of PyTorch Lightning.
`ours` and `tuned` make their process keep freed memory; the other programs do not. All but `ours` run in processes of
their own.
"""

import sys
import threading
from contextlib import contextmanager

import numpy as np
import torch
import torch.multiprocessing as mp
from torch import nn

from stn_paper import build_model
from stn_paper.data import datasets
from stn_paper.training import hardware, loop, networks, optimizers
from stn_paper.training.batches import keep_on_device, make_batches, network_input
from stn_paper.training.protocol import Protocol

from . import files

LEARNING_RATE = Protocol.learning_rate
FORKS = sys.platform == "linux" and not torch.cuda.is_available()  # CUDA does not work after a fork
PROCESSES = mp.get_context("forkserver" if FORKS else "spawn")
PROCESSES.set_forkserver_preload(["timm.optim", "timm.task", __name__])  # imported once for all processes
NORMALIZATION = "half"
WAIT = "wait"  # asks a process to wait for its GPU


def network(setting, backbone, variant):
    """The untrained network, with the same weights each time."""
    torch.manual_seed(0)
    return build_model(backbone, variant, files.CLASSES, setting.image_size(backbone)).train()


def batches(setting, image_size, batch, place=keep_on_device):
    """Yield (images, labels) without end by the package's own data path, in a new order every epoch.

    `place` is a function (images, device) -> images that puts them into a memory; the default is that of training: in a
    GPU's memory, else memory-mapped.
    """
    data = files.cached(setting, image_size)
    data = data._replace(images=place(data.images, setting.device))
    draw = np.random.RandomState(0)
    whole = len(data.labels) // batch * batch
    while True:
        order = np.resize(draw.permutation(len(data.labels)), max(whole, batch))
        yield from make_batches(data, setting.device, NORMALIZATION, image_size, order, batch)


def ours(setting, backbone, variant, batch, precision="tf32", compiled=False):
    """The package's training step on its cached uint8 images, including the sums of loss and accuracy.

    On a GPU this step is eager or compiled. A training run replays its step as a CUDA graph instead.
    """
    hardware.keep_freed_memory()
    model = network(setting, backbone, variant)
    model.to(setting.device, memory_format=torch.channels_last)
    step = loop.training_step(model, precision, compiled)
    optimizer = optimizers.OPTIMIZER_CLASSES["adam"](model.parameters(), lr=LEARNING_RATE, fused=True)
    given = batches(setting, setting.image_size(backbone), batch)
    total, correct = (torch.zeros((), device=setting.device) for _ in range(2))

    def call():
        images, labels = next(given)
        loss, logits = step(optimizer, images, labels)
        total.add_(loss * len(labels))
        correct.add_((logits.argmax(1) == labels).sum())

    return call


def step_on_noise(spec):
    """Return a call that makes one training step of a run (RunSpec) on a CPU, on random images without augmentation."""
    protocol, size, about = spec.protocol, spec.image_size, datasets.DATASETS[spec.dataset]
    model = networks.build_network(spec, about.num_classes, torch.device("cpu")).train()
    optimizer = optimizers.make_optimizer(model, protocol)
    step = loop.training_step(model, protocol.precision)
    images = torch.randint(0, 256, (protocol.batch_size, 3, size, size), dtype=torch.uint8)
    several = (about.labels,) if about.labels > 1 else ()
    labels = torch.randint(0, about.num_classes, (protocol.batch_size, *several))
    return lambda: step(optimizer, network_input(images, "cpu", protocol.normalization, size), labels)


def plain(setting, backbone, variant, batch):
    """The author's loop: it decodes files every epoch, has torch's default precision, and reads each step's loss."""
    model = network(setting, backbone, variant).to(setting.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    criterion = nn.CrossEntropyLoss()
    given = files.from_files(setting, setting.image_size(backbone), batch)
    running = 0.0

    def call():
        nonlocal running
        _cuda_defaults(convolutions=True, products=False)
        images, labels = next(given)
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()

    return call


@contextmanager
def in_own_process(program, *arguments):
    """Context: a call of `program(*arguments)` in a process of its own, with as many threads as this process.

    The process compiles if this one does, and starts with the system's default handling of memory. `call.wait()` waits
    until its GPU has finished. An error of the program has the program's name as its attribute `program`.
    """
    parent_end, child_end = PROCESSES.Pipe()
    settings = torch.get_num_threads(), torch._dynamo.config.disable
    process = PROCESSES.Process(target=_serve, args=(child_end, program, arguments, *settings))
    process.start()
    child_end.close()

    def ask(request):
        parent_end.send(request)
        if error := parent_end.recv():
            error.program = program.__name__
            raise error

    def call():
        ask("a step")

    call.wait = lambda: ask(WAIT)
    try:
        yield call
    finally:
        parent_end.close()
        process.join()


def _serve(pipe, program, arguments, threads, never_compile):
    torch.set_num_threads(threads)
    torch._dynamo.config.disable = never_compile
    call = None
    try:
        while request := pipe.recv():
            try:
                call = call or program(*arguments)
                if request != WAIT:
                    call()
                elif torch.cuda.is_initialized():
                    torch.cuda.synchronize()
                pipe.send(None)
            except RuntimeError as error:
                pipe.send(error)
    except EOFError:
        return


def timm_step(setting, backbone, variant, batch, precision="tf32", compiled=False, loader=False):
    """timm's training step with its fastest settings.

    These are timm's task and optimizer, channels-last, fused Adam, and cuDNN's search for the fastest convolution.
    `precision` and `compiled` turn autocast and torch.compile on. The batches are those of `ours`, or with `loader`
    those of timm's loader.
    """
    from timm.optim import create_optimizer_v2
    from timm.task import ClassificationTask

    model = network(setting, backbone, variant)
    model.to(setting.device, memory_format=torch.channels_last)
    task = ClassificationTask(model, device=setting.device, verbose=False)
    optimizer = create_optimizer_v2(model, "adam", lr=LEARNING_RATE, fused=True)
    tf32, autocast = hardware.PRECISION_MODES[precision]
    if compiled:
        task.compile(mode="reduce-overhead" if setting.cuda else None, dynamic=False)
    task.train()
    given = (timm_batches if loader else batches)(setting, setting.image_size(backbone), batch)

    def call():
        _cuda_defaults(tf32, tf32, search=True)
        images, labels = next(given)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=autocast):
            loss = task(images, labels)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.backends.cudnn.benchmark = False  # neither our step nor the author's loop uses it

    return call


def tuned(setting, backbone, variant, batch, precision="tf32"):
    """A loop of a few lines on our batches: channels-last, fused Adam, freed memory is kept, the loss is not read.

    Autocast is on if `precision` is bfloat16.
    """
    hardware.keep_freed_memory()
    autocast = hardware.PRECISION_MODES[precision][1]
    model = network(setting, backbone, variant)
    model.to(setting.device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    given = batches(setting, setting.image_size(backbone), batch)

    def call():
        _cuda_defaults(convolutions=True, products=True, search=True)
        images, labels = next(given)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.backends.cudnn.benchmark = False

    return call


def lightning(setting, backbone, variant, batch, precision="tf32"):
    """Lightning's `Trainer.fit` on our batches, channels-last and with fused Adam, without its log and checkpoints.

    Lightning computes in mixed precision if `precision` is bfloat16.
    `fit` runs in a thread that waits before each batch; a call lets it train one batch.
    """
    from pytorch_lightning import Callback, LightningModule, Trainer

    given = batches(setting, setting.image_size(backbone), batch)
    go, done, errors = threading.Semaphore(0), threading.Semaphore(0), []

    class Turns(Callback):
        def on_train_batch_start(self, *_):
            done.release()
            go.acquire()

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network(setting, backbone, variant).to(memory_format=torch.channels_last)

        def training_step(self, batch, _):
            images, labels = batch
            images = images.contiguous(memory_format=torch.channels_last)
            return nn.functional.cross_entropy(self.model(images), labels)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, fused=True)

    def fit():
        try:
            trainer = Trainer(
                accelerator="gpu" if setting.cuda else "cpu",
                devices=1,
                precision="bf16-mixed" if precision == "bfloat16" else "32-true",
                max_epochs=1,
                callbacks=[Turns()],
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                logger=False,
            )
            trainer.fit(Module(), given)
        except Exception as error:
            errors.append(error)
            done.release()

    threading.Thread(target=fit, daemon=True).start()
    done.acquire()

    def call():
        go.release()
        done.acquire()
        if errors:
            raise RuntimeError(f"Lightning failed: {errors[0]}")

    return call


def timm_batches(setting, image_size, batch):
    """Yield (images, labels) without end from timm's loader and prefetcher: from files, without augmentation."""
    from timm.data import ImageDataset, create_loader

    loader = create_loader(
        ImageDataset(str(files.folder_of(setting, files.round_of(setting) * batch))),
        (3, image_size, image_size),
        batch,
        is_training=True,
        no_aug=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        num_workers=files.workers(setting),
        pin_memory=setting.cuda,
        device=setting.device,
    )
    return files.endless(loader)


def _cuda_defaults(convolutions, products, search=False):
    """Set TF32 of cuDNN and cuBLAS, and cuDNN's search; each program sets its own, because the programs take turns."""
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    torch.backends.cudnn.benchmark = search
