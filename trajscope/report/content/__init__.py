"""What a finished result says, in words and rows, the same on the screen and on the page."""
