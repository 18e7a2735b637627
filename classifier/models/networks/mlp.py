"""Multilayer perceptron: no notion of neighboring pixels, the baseline under every convolution.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986,
https://doi.org/10.1038/323533a0.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Len
from torch import nn

from classifier.models.classifier import Classifier
from classifier.models.networks.layers import (
    ActivationName,
    Dropout,
    Width,
    activation,
    he_initialize,
)


@dataclass(frozen=True)
class MlpParams:
    """Settings under ``model.mlp``."""

    hidden: Annotated[tuple[Width, ...], Len(0, 64)] = (128, 64)
    activation: ActivationName = "relu"
    batch_norm: bool = False
    dropout: Dropout = 0.0


def mlp(params: MlpParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Flattened pixels through ``hidden`` layers; each is one stage of the backbone."""
    features = channels * image_size**2
    stages: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number, units in enumerate(params.hidden, start=1):
        layers: list[nn.Module] = [nn.Linear(features, units)]
        layers += [nn.BatchNorm1d(units)] if params.batch_norm else []
        layers += [activation(params.activation)]
        layers += [nn.Dropout(params.dropout)] if params.dropout else []
        stages[f"hidden{number}"] = nn.Sequential(*layers)
        features = units
    network = Classifier(stages, nn.Linear(features, classes))
    he_initialize(network)
    return network
