"""The benchmark: speed and memory of MS-MLP beside its peers; docs/performance.md."""
