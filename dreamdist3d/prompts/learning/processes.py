"""Several processes that learn one distribution, started by `accelerate launch` or `torchrun`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from dreamdist3d.errors import UserError

Made = TypeVar("Made")


@dataclass(frozen=True)
class Processes:
    """This process, number `rank` of `count`; alone unless a launcher started several."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls, device: str | torch.device) -> "Processes":
        """Meet the others a launcher started, through NCCL for a CUDA `device`, Gloo for the CPU.

        Afterwards "cuda" without a number is this process's own GPU.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        from accelerate import PartialState

        state = PartialState(cpu=torch.device(device).type == "cpu")
        return cls(state.process_index, state.num_processes)

    @property
    def leads(self) -> bool:
        """Whether this is the one that shows progress and writes files."""
        return self.rank == 0

    def share(self, items: int) -> slice:
        """This process's part of `items`; the parts differ by one item at most.

        Raises:
            UserError: fewer items than processes.
        """
        if items < self.count:
            raise UserError(f"batch={items} is less than one image for each of {self.count} processes: raise it.")
        return slice(items * self.rank // self.count, items * (self.rank + 1) // self.count)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each."""
        if self.count == 1:
            return tensor
        from accelerate.utils import reduce

        return reduce(tensor, "sum")

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any process raises `flag`."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def agree(self, make: Callable[[], Made]) -> Made:
        """What the leading process makes, in all of them; they wait for it.

        Raises:
            UserError: the leading process's, in all of them.
        """
        if self.count == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        outcome = broadcast_object_list([_outcome(make) if self.leads else None])[0]
        if isinstance(outcome, UserError):
            raise outcome
        return outcome


ALONE = Processes()


def _outcome(make: Callable[[], Made]) -> Made | UserError:
    try:
        return make()
    except UserError as error:
        return error
