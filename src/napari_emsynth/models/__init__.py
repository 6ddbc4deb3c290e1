"""Architectures: one a file, a frozen Config and an ``nn.Module`` each."""
