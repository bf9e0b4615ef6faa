"""GPart (arXiv 2605.14841): fine-tuning in d shared coordinates, as a plug-in for PEFT.

Importing this package registers the method with PEFT, so `import gpart` comes before `PeftModel.from_pretrained`.
"""

from gpart._torchvision import ensure_torchvision

ensure_torchvision()

__all__ = ["ensure_torchvision"]
