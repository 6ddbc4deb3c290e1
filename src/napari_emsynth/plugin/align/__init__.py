"""The dock that aligns a stack and carries other layers along."""
