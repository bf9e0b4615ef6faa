"""One run and many: data, backbone, method, training, evaluation, record."""
