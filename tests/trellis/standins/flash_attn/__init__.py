"""Stands in for flash-attn: the same functions in plain torch; sequences of several lengths one after the other."""

import torch
import torch.nn.functional as F


def flash_attn_func(q, k, v):
    """[N, L, H, C] each."""
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def flash_attn_qkvpacked_func(qkv):
    """[N, L, 3, H, C]."""
    return flash_attn_func(*qkv.unbind(dim=2))


def flash_attn_kvpacked_func(q, kv):
    """[N, L, H, C] and [N, M, 2, H, C]."""
    return flash_attn_func(q, *kv.unbind(dim=2))


def flash_attn_varlen_func(q, k, v, starts_q, starts_k, longest_q, longest_k):
    """[T, H, C] each; where the sequences start."""
    pairs = zip(starts_q.tolist(), starts_q.tolist()[1:], starts_k.tolist(), starts_k.tolist()[1:], strict=False)
    parts = [flash_attn_func(q[None, a:b], k[None, c:d], v[None, c:d])[0] for a, b, c, d in pairs]
    return torch.cat(parts)


def flash_attn_varlen_qkvpacked_func(qkv, starts, longest):
    """[T, 3, H, C]."""
    return flash_attn_varlen_func(*qkv.unbind(dim=1), starts, starts, longest, longest)


def flash_attn_varlen_kvpacked_func(q, kv, starts_q, starts_k, longest_q, longest_k):
    """[T, H, C] and [U, 2, H, C]."""
    return flash_attn_varlen_func(q, *kv.unbind(dim=1), starts_q, starts_k, longest_q, longest_k)
