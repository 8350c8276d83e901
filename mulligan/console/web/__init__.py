"""The console as a web page."""
