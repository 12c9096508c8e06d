"""Pages to look at, one HTML file each: on data, and on training runs."""
