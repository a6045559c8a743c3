"""The web page: `repix app`. Needs gradio (`pip install 'repix[app]'`)."""
