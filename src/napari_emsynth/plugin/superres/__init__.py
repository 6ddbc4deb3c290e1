"""The dock that makes pixels smaller."""
