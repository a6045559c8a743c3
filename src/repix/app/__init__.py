"""The web UI and the HTTP API: FastAPI, and a page in plain JavaScript."""
