"""Multiply-adds of anything that runs, counted by PyTorch as it runs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from adafocus_env.networks.costs import count_multiply_adds


def executed_multiply_adds(run: Callable[[], object]) -> float:
    """Multiply-adds of what `run` really computes, wherever it does.

    The fused recurrent networks of cuDNN and oneDNN are switched off meanwhile: the counter does
    not see into them.
    """
    backends = torch.backends
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")  # about Intel's GPUs
        with backends.cudnn.flags(enabled=False), backends.mkldnn.flags(enabled=False):
            return count_multiply_adds(run)


class RunningMultiplyAdds(TorchFunctionMode):
    """Counts what runs within it, training too, and costs hardly any time.

    Unlike `count_multiply_adds` it looks at the calls of layers, not at every operation, so that a
    whole training can be counted: convolutions, linear layers, matrix products, `einsum` of two
    tensors, GRUs. What autograd keeps is taken to be differentiated once: as many multiply-adds
    again for each of input and weight that needs a gradient.

    Attributes:
        total: so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, and count it where it multiplies."""
        del types
        result = func(*args, **(kwargs or {}))
        count = _COUNTS.get(func)
        if count is not None:
            self.total += count(args, result)
        return result


def _of_convolution(args: tuple[Any, ...], output: Tensor) -> float:
    images, weight = args[:2]
    each: int = weight[0].numel()
    return _with_gradients(output.numel() * each, output, images, weight)


def _of_product(args: tuple[Any, ...], output: Tensor) -> float:
    left, right = args[:2]
    return _with_gradients(output.numel() * left.shape[-1], output, left, right)


def _of_einsum(args: tuple[Any, ...], output: Tensor) -> float:
    equation, *operands = args
    if len(operands) == 1 and not isinstance(operands[0], Tensor):
        operands = list(operands[0])
    sizes: dict[str, int] = {}
    for names, operand in zip(equation.partition("->")[0].split(","), operands, strict=True):
        sizes.update(zip(names.strip(), operand.shape, strict=True))
    return _with_gradients(math.prod(sizes.values()), output, *operands)


def _of_gru(args: tuple[Any, ...], result: tuple[Tensor, Tensor]) -> float:
    sequence, _, weights = args[:3]
    output, last = result
    steps, episodes = sequence.numel() // sequence.shape[-1], last.shape[1]
    input_weight, state_weight = weights[:2]
    total = _with_gradients(steps * input_weight.numel(), output, sequence, input_weight)
    if not output.requires_grad:
        return total + float(steps * state_weight.numel())
    # Its weight's gradient, and that of every state but the first, which is given.
    return total + float((3 * steps - episodes) * state_weight.numel())


def _with_gradients(forward: float, output: Tensor, *inputs: Tensor) -> float:
    if not output.requires_grad:
        return forward
    return forward * (1 + sum(tensor.requires_grad for tensor in inputs))


_COUNTS: dict[Any, Callable[[tuple[Any, ...], Any], float]] = {
    torch.conv2d: _of_convolution,
    F.linear: _of_product,
    torch.matmul: _of_product,
    torch.bmm: _of_product,
    torch.mm: _of_product,
    Tensor.matmul: _of_product,
    Tensor.__matmul__: _of_product,
    Tensor.__rmatmul__: _of_product,
    torch.einsum: _of_einsum,
    torch._VF.gru: _of_gru,
}
