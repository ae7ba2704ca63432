"""Distance to the limit: operations and bytes a second of training steps against the machine's peak."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from .measuring import fresh, measure
from .programs import ours
from .throughput import VARIANTS, name

PRODUCTS = {  # name of a matrix product -> (dtype, whether TF32 on CUDA)
    "float32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "bfloat16": (torch.bfloat16, False),
}


def run(setting):
    """Yield `peaks`, the rates of matrix products (operations a second) and of a copy (bytes), and `rows` of steps.

    `flops` are torch's count, two for a multiply-accumulate; `bytes` are counted by `Traffic`. Compiled steps are left
    out, because fused operations move fewer bytes.
    """
    rows = []
    for backbone, batch in setting.sizes.batches.items():
        for variant in VARIANTS:
            fresh(setting.device)
            modes = [mode for mode in setting.sizes.modes if not mode[1]]
            calls = {name("ours", *mode): ours(setting, backbone, variant, batch, *mode) for mode in modes}
            counts = {program: count(call) for program, call in calls.items()}
            found = measure(calls, setting.device, (), setting.sizes.rounds, setting.sizes.steps)
            shared = {"backbone": backbone, "variant": variant, "batch": batch}
            for row, (precision, _) in zip(found, modes):
                rows.append(shared | row | counts[row["program"]] | {"precision": precision})
    yield {"peaks": peaks(setting), "rows": rows, "bytes_are": Traffic.__doc__}


def peaks(setting):
    """Rows of a copy and of a large matrix product at each precision: the machine's peaks."""
    fresh(setting.device)
    side, device = setting.sizes.product, setting.device
    source = torch.ones(setting.sizes.copied * 2**18, device=device)  # float32: four bytes each
    target = torch.empty_like(source)
    calls, work = {"copy": lambda: target.copy_(source)}, {"copy": 2 * source.nbytes}
    for precision, (dtype, tf32) in PRODUCTS.items():
        if setting.cuda or precision != "tf32":
            calls[precision] = _product(side, dtype, tf32, device)
            work[precision] = 2 * side**3
    return measure(calls, device, (), 2 * setting.sizes.rounds, 5, work=work)


def _product(side, dtype, tf32, device):
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)

    def call():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.mm(a, b, out=out)

    return call


def count(call):
    """Return `flops` and `bytes` of a call."""
    flops = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward})
    with flops, Traffic() as traffic:
        call()
    return {"flops": flops.get_total_flops(), "bytes": traffic.bytes}


def _backward(gradient, inputs, weight, *others, **_):
    """Operations of a convolution's backward pass: for each gradient as many as in the forward pass.

    torch's own count ignores groups.
    """
    # which gradients are computed: of the inputs, the weight and the bias; the last is not counted
    output_mask = others[7]
    return conv_flop_count(inputs, weight, gradient) * sum(output_mask[:2])


class Traffic(TorchDispatchMode):
    """Bytes of the tensors that operations read and write, each operation's once, whatever a cache saves.

    Views and empty tensors move nothing.
    """

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not (function.is_view or "empty" in function.overloadpacket.__name__):
            leaves = tree_leaves((args, kwargs, result))
            self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))
        return result
