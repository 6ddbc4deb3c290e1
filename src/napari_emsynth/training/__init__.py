"""Self-supervised training: samples, the loop, checkpoints."""
