"""Four-channel diffusion: noise levels, network, loss, averaging, training, sampling. Tensors in, tensors out."""
