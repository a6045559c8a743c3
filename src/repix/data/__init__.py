"""Pairs of rainy and clean images: found on disk (`pairs`), made (`rain`), served to training (`dataset`)."""
