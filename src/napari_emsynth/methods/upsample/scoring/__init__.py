"""How upsampling is judged: sections are left out or averaged and made up again. No method may live here."""
