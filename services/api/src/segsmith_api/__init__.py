"""The REST interface, the web pages and the events of segsmith."""
