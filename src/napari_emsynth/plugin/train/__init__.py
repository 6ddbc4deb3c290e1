"""The dock that fine-tunes a method on the open layer."""
