"""What exercises and lessons import, beside zero_ref."""
