"""Architectures: standard networks for images.

Three architectures are plain torch modules or, with a gspace, equivariant networks with the same structure: n channels
become n / |G| regular fields, where |G| is the order of the group, so features keep their width, and an invariant head
replaces flattening. `equivariant_resnet()` is a residual network for images at every angle, `gsa_network()` is a
classifier based on group self-attention, and `equivariant_vit()` is a vision transformer. `predict_points()` runs a network of
attention layers on points instead of pixels.

Source: Abbott 2024 (arXiv 2402.05424), figures 19, 26 and 27; Romero & Cordonnier 2021 (arXiv 2010.00977); Dosovitskiy
et al. 2021 (arXiv 2010.11929).
"""

from .any_angle import equivariant_resnet, resnet_layers
from .classifier import image_classifier_mlp
from .gsa import gsa_layers, gsa_network
from .points import predict_points
from .resnet import identity_resnet
from .u_net import unet
from .vit import equivariant_vit, vit_layers

__all__ = [
    "equivariant_resnet",
    "equivariant_vit",
    "gsa_layers",
    "gsa_network",
    "identity_resnet",
    "image_classifier_mlp",
    "predict_points",
    "resnet_layers",
    "unet",
    "vit_layers",
]
