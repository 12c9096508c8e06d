"""A package, as site-packages may hold a `tests` of another distribution."""
