"""Seamless blending by an exact solve of the Poisson equation. Base install, no torch (but for `descent`)."""
