"""How super-resolution is judged: pixels are made coarser and finer again. No method may live here."""
