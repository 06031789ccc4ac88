"""A training step's forward and backward pass as one CUDA graph: small networks cost a GPU mostly launches."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM_UP = 3


class Captured:
    """`loss(generator)` and its gradients, recorded at the first call and replayed after it, in bfloat16.

    A replay draws its randomness from `generator` as seeded at that moment. If the loss cannot be recorded (an
    operation waits for the GPU), it runs as it is, slower and with the same result.
    """

    def __init__(
        self,
        loss: Callable[[torch.Generator], dict[str, Tensor]],
        parameters: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        self.loss, self.parameters, self.generator = loss, list(parameters), generator
        self.graph: torch.cuda.CUDAGraph | None = None
        self.recorded = False
        self.gradients: list[Tensor | None] = []
        self.values: dict[str, Tensor] = {}

    def backward(self) -> dict[str, Tensor]:
        """Fill the parameters' gradients; the loss's values, valid until the next call."""
        if not self.recorded:
            self._record()
            self.recorded = True
        if self.graph is None:
            return self._run()
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return dict(self.values)

    def _run(self) -> dict[str, Tensor]:
        for parameter in self.parameters:
            parameter.grad = None
        with torch.autocast("cuda", torch.bfloat16):
            values = self.loss(self.generator)
        values["loss"].backward()
        return {name: value.detach() for name, value in values.items()}

    def _record(self) -> None:
        state = self.generator.get_state()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph):
                self.values = self._run()
        except RuntimeError as error:
            print(f"not recorded as a CUDA graph: {' '.join(str(error).split())[:200]}", flush=True)
            torch.cuda.synchronize()
        else:
            self.graph, self.gradients = graph, [parameter.grad for parameter in self.parameters]
        self.generator.set_state(state)
