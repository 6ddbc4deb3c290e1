"""How alignment is judged: self-check, evaluation, planted jitter. No method may live here."""
