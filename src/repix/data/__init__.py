"""Pairs of rainy and clean pictures: found on disk (`pairs`), made (`rain`), served to training (`dataset`)."""
