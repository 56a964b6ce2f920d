"""Architectures: networks for images, ready to be trained.

Three architectures are plain torch modules or, given a gspace, equivariant networks of the same shape: n channels
become n / |G| regular fields (|G| is the order of the group), so that features have the same width, and a head that
does not change under the group replaces flattening. `gsa_network()` is a classifier by group self-attention, and
`predict_points()` runs a network of attention layers on points instead of pixels.

Source: Abbott 2024 (arXiv 2402.05424), figures 19, 26 and 27; Romero & Cordonnier 2021 (arXiv 2010.00977).
"""

from .classifier import image_classifier_mlp
from .gsa import gsa_layers, gsa_network
from .points import predict_points
from .resnet import identity_resnet
from .u_net import unet

__all__ = ["gsa_layers", "gsa_network", "identity_resnet", "image_classifier_mlp", "predict_points", "unet"]
