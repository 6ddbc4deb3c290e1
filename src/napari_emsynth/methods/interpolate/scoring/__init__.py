"""How interpolation is judged: sections are hidden and made up again. No method may live here."""
