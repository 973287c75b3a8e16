"""How PyTorch's model libraries name and order the layers of the zoo's models. Imports Keras.

A state dict lists modules in the order in which they were made, and its names differ from library
to library. So a layout tells which library it is by a few names, and pairs modules and layers in
order; every pair's shapes are checked. benchmarks/peers/torch_weights.py proves each layout on the
library itself: same weights, same picture, same logits.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from keras import layers

from edgekit.errors import UsageError
from edgekit.training.zoo.catalogue.description import Entry
from edgekit.training.zoo.weights.filling import weighted_layers
from edgekit.training.zoo.weights.stored import Array, Matched, Stored, Weights

_State = Mapping[str, Array]


def _number_order(name: str) -> tuple[int, ...]:
    """Numbered layers by their number, each convolution before its norm; the classifier last."""
    match = re.fullmatch(r"(conv2d|batch_normalization)(?:_(\d+))?", name)
    return (int(match[2] or 0), match[1] != "conv2d") if match else (1 << 20,)


def _residual_order(name: str) -> tuple[int, ...]:
    """The projection of a shortcut after the layers beside it; the stem first, classifier last."""
    match = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name)
    if match is None:
        return (9 if name == "logits" else 0, 0, 0, name.endswith("_bn"))
    stage, block, place = (int(match[number]) for number in (1, 2, 3))
    return (stage, block, place or 9, match[4] == "bn")


@dataclass(frozen=True)
class Layout:
    """How one library has the models of one builder.

    Attributes:
        name: The library and the model, for messages.
        builder: The builder's module.
        marks: Tensors that tell this layout from others.
        normalization: What the library's published weights expect.
        torch: Whether the model has to be built in the torch layout.
        arguments: What the entry's arguments must be for this layout to apply.
        skip: How the names of modules begin that are used in training only.
        order: Sort key of layer names, where the model's order isn't the library's.
        by_name: Whether the builder has a `from_torch` that goes by names: transformers split and
            resample tensors, so order alone does not pair them.
    """

    name: str
    builder: str
    marks: tuple[str, ...]
    normalization: str
    torch: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    order: Callable[[str], tuple[int, ...]] | None = None
    by_name: bool = False

    def suits(self, entry: Entry) -> bool:
        """Whether the entry is one of this layout's models."""
        given = {key: entry.arguments.get(key) for key in self.arguments}
        return self.builder == entry.builder and given == dict(self.arguments)


LAYOUTS = (
    Layout(
        "torchvision's mobilenet_v2",
        "mobilenet",
        ("features.0.0.weight", "features.1.conv.0.0.weight"),
        "torch",
        arguments={"version": 2},
    ),
    Layout(
        "torchvision's mobilenet_v3",
        "mobilenet",
        ("features.0.0.weight", "features.1.block.0.0.weight"),
        "torch",
        arguments={"version": 3, "minimalistic": False},
    ),
    Layout(
        "timm's mobilenetv1_100",
        "mobilenet",
        ("conv_stem.weight", "blocks.0.0.conv_pw.weight"),
        "tf",
        arguments={"version": 1},
    ),
    Layout(
        "the PyTorch port of the reference checkpoints",
        "efficientnet_lite",
        ("_conv_stem.weight", "_blocks.0._depthwise_conv.weight"),
        "efficientnet_lite",
        torch=False,
    ),
    Layout(
        "torchvision's efficientnet_b",
        "efficientnet",
        ("features.0.0.weight", "features.1.0.block.0.0.weight"),
        "torch",
        arguments={"version": 1},
    ),
    Layout(
        "torchvision's resnet18 and 34",
        "resnet",
        ("conv1.weight", "layer1.0.conv1.weight"),
        "torch",
        torch=False,
        arguments={"bottleneck": False},
        order=_residual_order,
    ),
    Layout(
        "torchvision's resnet50, 101 and 152",
        "resnet",
        ("conv1.weight", "layer1.0.conv1.weight"),
        "torch",
        arguments={"bottleneck": True},
        order=_residual_order,
    ),
    Layout(
        "torchvision's googlenet",
        "googlenet",
        ("conv1.conv.weight", "inception3a.branch1.conv.weight"),
        "tf",
        skip=("aux1.", "aux2."),
        order=_number_order,
    ),
    Layout(
        "torchvision's inception_v3",
        "inception_v3",
        ("Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch1x1.conv.weight"),
        "tf",
        skip=("AuxLogits.",),
        order=_number_order,
    ),
    Layout(
        "timm's inception_v4",
        "inception_v4",
        ("features.0.conv.weight", "features.3.conv.conv.weight"),
        "tf",
        torch=False,
        order=_number_order,
    ),
    Layout(
        "torchvision's vgg",
        "vgg",
        ("features.0.weight", "features.28.weight", "classifier.0.weight"),
        "torch",
        torch=False,
    ),
    Layout(
        "timm's vit_*_patch16_224",
        "vit",
        ("patch_embed.proj.weight", "pos_embed"),
        "tf",
        torch=False,
        by_name=True,
    ),
    Layout(
        "torchvision's vit_b_16",
        "vit",
        ("conv_proj.weight", "encoder.pos_embedding"),
        "torch",
        torch=False,
        by_name=True,
    ),
    Layout(
        "torchvision's swin_t, s and b",
        "swin",
        ("features.0.0.weight", "features.1.0.attn.qkv.weight"),
        "torch",
        torch=False,
        by_name=True,
    ),
    Layout(
        "timm's swin_*_patch4_window7_224",
        "swin",
        ("patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight"),
        "torch",
        torch=False,
        by_name=True,
    ),
)


def read_torch(path: Path, entry: Entry, state: _State) -> Weights:
    """Recognizes the layout of a state dict.

    Raises:
        UsageError: None of those known for this model is it.
    """
    known = [layout for layout in LAYOUTS if layout.suits(entry)]
    for layout in known:
        if all(mark in state for mark in layout.marks):
            return Weights(path, _adapt(entry, layout), partial(_match, layout, state))
    first = next(iter(state), "nothing")
    raise UsageError(
        f"{path}: a PyTorch state dict of no layout known for {entry.name} (it begins with "
        f"{first})",
        f"Known: {', '.join(layout.name for layout in known)}."
        if known
        else "No PyTorch layout is known for this model: give a .keras or .h5 file.",
    )


def in_torch_layout(entry: Entry) -> Entry:
    """The entry as edgekit builds it for PyTorch's weights, where that is a layout of its own."""
    known = (layout for layout in LAYOUTS if layout.suits(entry) and layout.torch)
    return next((_adapt(entry, layout) for layout in known), entry)


def _adapt(entry: Entry, layout: Layout) -> Entry:
    if layout.torch:
        return entry.in_torch_layout(layout.normalization)
    return replace(entry, normalization=layout.normalization)


def _match(layout: Layout, state: _State, model: Any) -> Matched:
    """Pairs the modules of a state dict with the layers of a model."""
    if layout.by_name:
        builder = importlib.import_module(f"edgekit.training.zoo.{layout.builder}")
        matched: Matched = builder.from_torch(model, state)
        return matched
    mine = weighted_layers(model)
    if layout.order is not None:
        order = layout.order
        mine.sort(key=lambda layer: order(layer.name))
    modules = _modules(state, layout.skip)
    stored = {
        layer.name: _stored(model, layer, name, tensors)
        for layer, (name, tensors) in zip(mine, modules, strict=False)
    }
    return Matched(stored, tuple(name for name, _ in modules[len(mine) :]))


def _modules(state: _State, skip: tuple[str, ...]) -> list[tuple[str, dict[str, Array]]]:
    """(name, tensors) of each module, in the file's order."""
    modules: dict[str, dict[str, Array]] = {}
    for key, tensor in state.items():
        name, _, part = key.rpartition(".")
        if part != "num_batches_tracked" and not name.startswith(skip):
            modules.setdefault(name, {})[part] = tensor
    return list(modules.items())


def _stored(model: Any, layer: Any, name: str, tensors: dict[str, Array]) -> Stored:
    shapes = tuple(tensor.shape for tensor in tensors.values())
    parts, rank = _expected(layer)
    if set(parts) != set(tensors) or tensors["weight"].ndim != rank:
        return Stored(name, (), shapes)
    weight, *others = (tensors[part] for part in parts)
    return Stored(name, (_transposed(model, layer, weight), *others), shapes)


def _expected(layer: Any) -> tuple[tuple[str, ...], int]:
    """The tensors of the layer's counterpart, and the rank of its weight."""
    if isinstance(layer, layers.BatchNormalization):
        return ("weight", "bias", "running_mean", "running_var"), 1
    parts = ("weight", "bias") if layer.use_bias else ("weight",)
    return parts, 2 if isinstance(layer, layers.Dense) else 4


def _transposed(model: Any, layer: Any, weight: Array) -> Array:
    """A weight in the order of Keras: inputs before outputs, channels last."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return weight.transpose(2, 3, 0, 1)
    if isinstance(layer, layers.Conv2D):
        return weight.transpose(2, 3, 1, 0)
    if isinstance(layer, layers.Dense):
        height, width, channels = _flattened(model, layer)
        if height * width * channels == weight.shape[1]:
            weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        return weight.reshape(len(weight), -1).T
    return weight


def _flattened(model: Any, layer: Any) -> tuple[int, int, int]:
    """The feature map that a dense layer takes; PyTorch flattens it with the channels first."""
    if layer.name == "fc1":
        return tuple(model.get_layer("flatten").input.shape[1:])
    return (1, 1, layer.input.shape[-1])
