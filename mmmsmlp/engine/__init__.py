"""What a config can name beside the models: hooks, optimizers, FSDP."""
