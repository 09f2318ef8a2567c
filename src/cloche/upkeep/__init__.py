"""What the keeper does again and again, and which keeper does it where several share a log."""
