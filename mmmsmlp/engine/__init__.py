"""What the tools share: config loading, checks, switches, launching, weights."""
