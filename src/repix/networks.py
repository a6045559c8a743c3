"""The names of the networks that repix can build, and where each is; known without torch, for messages."""

from __future__ import annotations

MODELS: dict[str, str] = {
    "derainnet": "repix.models.derainnet:DerainNet",
    "fcn": "repix.models.pix2pix:FCN",
    "pix2pix": "repix.models.pix2pix:Pix2Pix",
    "prenet": "repix.models.prenet:PReNet",
    "progressive_spanet": "repix.models.progressive_spanet:ProgressiveSPANet",
    "repixnet": "repix.models.repixnet:RepixNet",
    "repixnet_video": "repix.models.repixnet_video:RepixNetVideo",
    "resnet": "repix.models.resnet:ResNet",
    "spanet": "repix.models.spanet:SPANet",
    "unet": "repix.models.unet:UNet",
    "vgg_unet": "repix.models.vgg_unet:VggUNet",
}
