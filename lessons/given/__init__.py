"""What exercises import, beside zero_ref."""
