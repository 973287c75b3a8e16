"""Node data for Model Explorer: the SQNR of each layer as the colour of its node.

Format: `GraphNodeData` in `node_data_builder.py` of https://github.com/google-ai-edge/model-explorer.
A key of `results` is the name of a tensor that a node gives, or the node's id; for a .tflite file
that is the index of the op in its graph (`SubgraphBuildContext` in
`direct_flatbuffer_to_json_graph_convert.cc`). Names are used where they say which node, since every
adapter keeps them. Without graph ids as keys, the data go to the graph that is open
(`getNodeDataProviderData` in `node_data_provider_extension_service.ts`).
"""

from __future__ import annotations

import json
import math
from collections import Counter

from edgekit.report.quantization import QuantizationReport

#: Upper ends in dB and colours, from bad to good; above the last a node stays white.
_COLOURS = ((10.0, "#b2182b"), (20.0, "#ef8a62"), (30.0, "#fddbc7"), (40.0, "#d1e5f0"))


def node_data(report: QuantizationReport) -> str:
    """The layers' own SQNR in dB (the lower of the tensor's and its median channel's), as JSON.

    Layers without error have no number, and are left out.
    """
    names = Counter([*(layer.name for layer in report.layers), *report.unmatched])
    results = {
        layer.name if names[layer.name] == 1 and layer.name else str(layer.index): {
            "value": round(layer.worst_db, 2)
        }
        for layer in report.layers
        if math.isfinite(layer.worst_db)
    }
    document = {
        "name": "SQNR by itself, dB",
        "results": results,
        "thresholds": [{"value": value, "bgColor": colour} for value, colour in _COLOURS],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
