"""What a student types, and sees in the terminal and on a page."""
