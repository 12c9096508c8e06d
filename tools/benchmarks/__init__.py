"""How fast and how large is MS-MLP beside its peers? See docs/performance.md."""
