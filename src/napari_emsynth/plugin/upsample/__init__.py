"""The dock that makes sections thinner."""
