"""Reading and writing pictures, films and folders. Imports nothing else of repix but `errors`."""
