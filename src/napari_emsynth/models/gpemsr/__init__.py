"""The networks of GPEMSR, one architecture a file."""
