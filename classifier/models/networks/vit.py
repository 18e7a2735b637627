"""A small vision transformer: patches of the image attend to each other.

Dosovitskiy et al., "An image is worth 16x16 words", 2020, https://arxiv.org/abs/2010.11929, with
fixed sine positions and averaged tokens instead of learnt positions and a class token, which train
better at this size: Beyer, Zhai and Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022,
https://arxiv.org/abs/2205.01580.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier
from classifier.models.networks.convnext import ChannelNorm
from classifier.models.networks.layers import Count, Dropout, pooled_head, transformer_initialize

_PATCHES_A_SIDE = 8  # when the patch size is chosen for the image size


@dataclass(frozen=True)
class VitParams:
    """Settings under ``model.vit``; ``patch`` is in pixels, null for a grid of about
    8×8 patches of 2 pixels or more."""

    patch: Annotated[int, Interval(ge=1, le=2048)] | None = None
    width: Annotated[int, Interval(ge=4, le=65536)] = 192
    depth: Count = 6
    heads: Count = 3
    mlp_ratio: Annotated[int, Interval(ge=1, le=64)] = 2
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 4:
            raise UserError(
                f"model.vit.width: {self.width} must be a multiple of 4 and of heads ({self.heads})"
            )


def vit(params: VitParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Patches, then ``depth`` blocks. Stages pass maps [N, width, rows, columns] of patches."""
    patch = params.patch or max(2, image_size // _PATCHES_A_SIDE)
    if patch > image_size:
        raise UserError(
            f"model.vit.patch: {patch} pixels are more than the image's {image_size}; lower it"
        )
    blocks = {
        f"block{number}": Block(params.width, params.heads, params.mlp_ratio, params.dropout)
        for number in range(1, params.depth + 1)
    }
    stages = {
        "patches": Patches(channels, params.width, patch),
        **blocks,
        "norm": ChannelNorm(params.width),
    }
    network = Classifier(stages, pooled_head(params.width, classes))
    transformer_initialize(network)
    return network


class Patches(nn.Module):
    """One vector for each patch, plus its position.

    A last row or column of patches that the image does not fill is completed with zeros.
    """

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Conv2d(channels, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        """[N, channels, H, W] -> [N, width, ceil(H / patch), ceil(W / patch)]."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.patch, 0, -height % self.patch))
        maps = self.project(images)
        places = positions(maps.shape[1], maps.shape[2], maps.shape[3], maps.device)
        return maps + places.to(maps.dtype)


def positions(width: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Sines and cosines [width, rows, columns] of the patches' places, a quarter each of y and x.

    Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762.
    """
    frequencies = 10_000 ** -(torch.arange(width // 4, device=device) / (width // 4))
    y = torch.arange(rows, device=device)[None, :, None] * frequencies[:, None, None]
    x = torch.arange(columns, device=device)[None, None, :] * frequencies[:, None, None]
    y, x = y.expand(-1, rows, columns), x.expand(-1, rows, columns)
    return torch.cat([y.sin(), y.cos(), x.sin(), x.cos()])


class Block(nn.Module):
    """Attention among patches, then a dense network for each, both beside a shortcut."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.combine = nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mlp_ratio * width),
            nn.GELU(),
            nn.Linear(mlp_ratio * width, width),
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, width, rows, columns] -> the same."""
        images, width, rows, columns = maps.shape
        tokens = maps.flatten(2).transpose(1, 2)  # [N, patches, width]
        parts = self.query_key_value(self.attention_norm(tokens))
        # [3, N, heads, patches, width of a head]
        query, key, value = parts.view(images, -1, 3, self.heads, width // self.heads).permute(
            2, 0, 3, 1, 4
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        tokens = tokens + self.drop(self.combine(mixed.flatten(2)))
        tokens = tokens + self.drop(self.dense(tokens))
        return tokens.transpose(1, 2).reshape(images, width, rows, columns)
