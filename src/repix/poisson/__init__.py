"""Seamless blending by an exact solve of the Poisson equation. The base install is enough, but for `torch`."""
