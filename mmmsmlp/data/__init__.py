"""What a data set must be: reading it as it is, and saying what is wrong with it."""
