"""The model zoo: what configs cost, and what the paper printed for them."""
