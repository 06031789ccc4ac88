"""Sparse tensors and submanifold convolutions of spconv in plain torch; what TRELLIS's text pipeline uses of it."""

import itertools
from enum import Enum

import torch
from torch import nn


class ConvAlgo(Enum):
    Native = 0
    MaskImplicitGemm = 1


class SparseConvTensor:
    def __init__(self, features, indices, spatial_shape, batch_size, grid=None, voxel_num=None, indice_dict=None):
        self._features, self.indices, self.spatial_shape, self.batch_size = features, indices, spatial_shape, batch_size
        self.grid, self.voxel_num, self.indice_dict = grid, voxel_num, indice_dict or {}
        self.benchmark, self.benchmark_record = False, {}
        self.thrust_allocator = self._timer = self.force_algo = self.int8_scale = None

    @property
    def features(self):
        return self._features

    def replace_feature(self, features):
        return SparseConvTensor(features, self.indices, self.spatial_shape, self.batch_size)


class SubMConv3d(nn.Module):
    """Each voxel hears its neighbours, of those that are there."""

    def __init__(self, in_channels, out_channels, kernel_size, dilation=1, bias=True, indice_key=None, algo=None):
        super().__init__()
        self.out_channels, self.kernel = out_channels, kernel_size
        scale = (in_channels * kernel_size**3) ** -0.5
        self.weight = nn.Parameter(scale * torch.randn(out_channels, *[kernel_size] * 3, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x):
        indices = x.indices.long()
        base = int(indices.max()) + 3
        keys = self._keys(indices + 1, base)
        order = keys.argsort()
        result = x.features.new_zeros(len(indices), self.out_channels)
        for place in itertools.product(range(self.kernel), repeat=3):
            step = torch.tensor([0, *(p - self.kernel // 2 for p in place)])
            wanted = self._keys(indices + 1 + step, base)
            found = torch.searchsorted(keys[order], wanted).clamp(max=len(keys) - 1)
            there = keys[order][found] == wanted
            result[there] += x.features[order[found[there]]] @ self.weight[(slice(None), *place)].T
        return x.replace_feature(result if self.bias is None else result + self.bias)

    @staticmethod
    def _keys(indices, base):
        return ((indices[:, 0] * base + indices[:, 1]) * base + indices[:, 2]) * base + indices[:, 3]


class SparseConv3d(nn.Module):
    def __init__(self, *_, **__):
        raise NotImplementedError("strided convolutions are not used by the text pipeline")


SparseInverseConv3d = SparseConv3d
