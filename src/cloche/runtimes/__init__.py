"""From a bundle to something that answers rows."""
