"""A training step as a CUDA graph: the GPU repeats its kernels without waiting for Python.

`loop` uses it because, with the protocols' small batches, starting the kernels one by one takes longer than the
kernels themselves. The arithmetic is the same as in the eager step.
"""

import torch

WARM_UP = 3  # eager steps first: they create the optimizer's state and choose cuDNN's algorithms
# pixels of a side from which cuDNN times its algorithms; for smaller images this takes longer than it saves
SEARCH_FROM = 100


def record_step(step):
    """Return the step (optimizer, images, labels) -> (loss, logits) as a CUDA graph, recorded once and then replayed.

    The first WARM_UP batches, and batches of another size than the recorded batch, run eagerly. The next call
    overwrites loss and logits. The optimizer needs `capturable=True` and a learning rate that is a CUDA tensor.
    CUDA records no graph on its default stream: call the step on another stream.
    """
    graph = static = None
    calls = largest = 0

    def replayed(optimizer, images, labels):
        nonlocal graph, static, calls, largest
        calls, largest = calls + 1, max(largest, len(images))
        # timing the algorithms for a rare size takes longer than it saves
        torch.backends.cudnn.benchmark = images.shape[-1] >= SEARCH_FROM and len(images) == largest
        if graph is not None and static is not None and len(images) == len(static[0]):
            static[0].copy_(images)
            static[1].copy_(labels)
            graph.replay()
            return static[2:]
        if static is not None or calls <= WARM_UP or len(images) < largest:
            return step(optimizer, images, labels)
        static = [images.clone(), labels.clone()]
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            static += step(optimizer, *static)
        graph.replay()  # recording computes nothing
        return static[2:]

    return replayed
