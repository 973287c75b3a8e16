"""Pretrained weights: where they are, how they are read, and how they get into a model.

`sources` finds the file, `reading` tells what it is, `keras_files` and `pth` read it,
`torch_layouts` knows how PyTorch names layers, and `filling` puts the arrays into a model.
"""
