"""One run and many: data, model, method, training, evaluation, diagnostics, record."""

from experiments import torchvision_repair

torchvision_repair.install()
