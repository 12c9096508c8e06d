"""Published formulations of this package's models: the same numbers, none faster."""
