"""Reading and writing images, videos and folders. Imports nothing else of repix but `errors`."""
