"""Qt widgets: they show a session and change it, and hold nothing that a closed dock would lose."""
