"""What to do about a checkpoint whose tensors show that a tool changed the network, or that it is another network."""

import re
from collections.abc import Iterable

_NO_RESNET = "no network of timm's ResNet family, and no other can be exported"
# A part of a tensor's name, and what it shows. Sources: torch.nn.utils.prune and .parametrize; torch.ao.quantization;
# the published code of PEFT, detectron2 (`STRIDE_IN_1X1` and `INPUT.FORMAT` are settings of a run), CLIP, IBN-Net,
# insightface and Big Transfer.
_KNOWN = (
    (r"\.weight_mask$", "weights are pruned by masks: call torch.nn.utils.prune.remove on each module, and save again"),
    (
        r"\.parametrizations\.",
        "weights are parametrized: call torch.nn.utils.parametrize.remove_parametrizations on each module, and save "
        "again",
    ),
    (r"\.(lora_[AB]|modules_to_save)\.", "it holds PEFT's adapters: call merge_and_unload(), and save again"),
    (
        r"activation_post_process|fake_quant",
        "it was prepared for quantisation-aware training: save the state dict of the network before that",
    ),
    (
        r"(^|\.)res2\.0\.conv1\.",
        "it has detectron2's names, and neither strides nor the order of colours are in its tensors: pass the "
        "checkpoint that it was converted from",
    ),
    (r"(^|\.)attnpool\.", f"it is CLIP's ResNet with an attention pool, {_NO_RESNET}"),
    (r"\.bn1\.IN\.", f"it is an IBN-Net, {_NO_RESNET}"),
    (r"(^|\.)prelu\.", f"its activations are PReLU, as in insightface: {_NO_RESNET}"),
    (r"(^|\.)block1\.unit01\.", f"it is a ResNetV2 of Big Transfer, {_NO_RESNET}"),
)


def advise(names: Iterable[str], otherwise: str) -> str:
    """Return what to do about a checkpoint that does not fit.

    Args:
        names: Names of its tensors.
        otherwise: What to do where the names show nothing.
    """
    held = tuple(names)
    return next((told for shown, told in _KNOWN if any(re.search(shown, name) for name in held)), otherwise)
