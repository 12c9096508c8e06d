"""The configs as a collection: found, counted, and compared with the paper."""
