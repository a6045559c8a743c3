"""Measuring restorers and looking into networks."""
