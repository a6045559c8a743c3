"""The web UI: `repix app`. Needs gradio (`pip install 'repix[app]'`)."""
