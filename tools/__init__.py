"""What the gates of `noxfile.py` are made of; none of it is installed."""
