"""What every page is made of: its frame and style, charts, small pictures."""
