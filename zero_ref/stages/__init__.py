"""ZeRO's stages, one file each. Read them side by side, zero0.py first: the difference is the idea."""
