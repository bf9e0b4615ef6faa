"""An adapted layer's forward and backward, whatever framework holds the layer.

From the top: `functional` (the autograd function), `compiled` (the same for torch.compile), `slices` (an adapter's part
of a layer), `deltas` (what it adds), `products` (what layers compute of input and weight), `dropout` (masks).
"""
