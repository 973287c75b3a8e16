"""Proves every PyTorch layout of `--weights FILE` on the library it comes from.

    python -m venv torch && torch/bin/pip install torch torchvision timm
    python benchmarks/peers/torch_weights.py --torch torch/bin/python

For each model the library builds it with random weights, takes the batch norm statistics from
pictures of noise (with others a random network of this depth amplifies rounding a thousandfold),
saves its state dict, and classifies a picture with its own preprocessing. Then edgekit loads the
file, prepares the same picture by the contract that comes with the weights, and the logits must
agree. Writes benchmarks/results/torch_weights.json (with --models, the other rows stay); exits with
1 where a model doesn't agree.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parents[1] / "results" / "torch_weights.json"
#: Largest difference of a logit, as a share of the largest logit.
TOLERANCE = 1e-3
SEED = 20

#: edgekit's name -> library and its name there.
MODELS = {
    "mobilenet_v1": ("timm", "mobilenetv1_100"),
    "mobilenet_v2": ("torchvision", "mobilenet_v2"),
    "mobilenet_v3_small": ("torchvision", "mobilenet_v3_small"),
    "mobilenet_v3_large": ("torchvision", "mobilenet_v3_large"),
    **{f"efficientnet_b{n}": ("torchvision", f"efficientnet_b{n}") for n in range(8)},
    **{f"resnet{n}": ("torchvision", f"resnet{n}") for n in (18, 34, 50, 101, 152)},
    "googlenet": ("torchvision", "googlenet"),
    "inception_v3": ("torchvision", "inception_v3"),
    "inception_v4": ("timm", "inception_v4"),
    "vgg16": ("torchvision", "vgg16"),
    "vgg19": ("torchvision", "vgg19"),
    "vit_ti16": ("timm", "vit_tiny_patch16_224"),
    "vit_s16": ("timm", "vit_small_patch16_224"),
    "vit_b16": ("torchvision", "vit_b_16"),
    "swin_t": ("torchvision", "swin_t"),
    "swin_s": ("timm", "swin_small_patch4_window7_224"),
    "swin_b": ("torchvision", "swin_b"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", required=True, help="A Python with torch, torchvision and timm.")
    parser.add_argument("--models", nargs="*", default=list(MODELS), help="Only these.")
    arguments = parser.parse_args()

    from edgekit.training import zoo

    rows, versions = [], {}
    for name in arguments.models:
        library, theirs = MODELS[name]
        size = zoo.entry(name).size
        with tempfile.TemporaryDirectory() as folder:
            picture = np.random.default_rng(SEED).integers(0, 256, (size, size, 3), np.uint8)
            np.save(f"{folder}/picture.npy", picture)
            command = [arguments.torch, __file__, "--write", folder, library, theirs]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            versions = json.loads(run.stdout.splitlines()[-1])
            expected = np.load(f"{folder}/logits.npy")
            model, contract = zoo.build(name, weights=Path(folder) / "weights.pth")
        pixels = np.take_along_axis(contract.float_table(), picture.reshape(-1, 3), axis=0)
        found = np.asarray(model(pixels.reshape(1, size, size, 3), training=False))[0]
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        rows.append(
            {
                "model": name,
                "of": f"{library} {theirs}",
                "size": size,
                "normalization": contract.normalization_name,
                "largest_difference": difference,
                "agrees": difference <= TOLERANCE,
            }
        )
        print(f"{name:24} {library} {theirs:20} {difference:.1e}", flush=True)
    earlier = json.loads(RESULTS.read_text("utf-8"))["models"] if RESULTS.exists() else []
    found_of = {row["model"]: row for row in [*earlier, *rows]}
    report = {
        "what": "logits of edgekit's models with PyTorch weights, against PyTorch's",
        "command": "python benchmarks/peers/torch_weights.py --torch PYTHON",
        "tolerance": TOLERANCE,
        "versions": versions,
        "models": [found_of[name] for name in MODELS if name in found_of],
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["agrees"] for row in rows) else 1


def write(folder: Path, library: str, name: str) -> None:
    """The part that runs where torch is: builds, saves and runs the library's own model."""
    import timm
    import torch
    import torchvision

    torch.manual_seed(SEED)
    model = _build(timm, torchvision, library, name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
    if library == "timm":
        mean, std = (torch.tensor(model.pretrained_cfg[key]) for key in ("mean", "std"))
    else:  # torchvision.transforms.presets.ImageClassification
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    picture = torch.from_numpy(np.load(folder / "picture.npy")).float()[None] / 255
    noise = torch.rand(4, *picture.shape[1:])
    with torch.no_grad():
        model.train()(((noise - mean) / std).permute(0, 3, 1, 2))
        logits = model.eval()(((picture - mean) / std).permute(0, 3, 1, 2))[0]
    torch.save(model.state_dict(), folder / "weights.pth")
    np.save(folder / "logits.npy", logits.numpy())
    modules = {"torch": torch, "torchvision": torchvision, "timm": timm}
    print(json.dumps({key: module.__version__ for key, module in modules.items()}))


def _build(timm: Any, torchvision: Any, library: str, name: str) -> Any:
    if library == "timm":
        return timm.create_model(name, pretrained=False)
    # With published weights these two turn the usual normalization into another one.
    options = {"transform_input": True} if name in ("googlenet", "inception_v3") else {}
    if options:
        options |= {"init_weights": False, "aux_logits": True}
    return torchvision.models.get_model(name, **options)


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]), *sys.argv[3:])
    else:
        sys.exit(main())
