"""The faces: command line, pages and (later) the HTTP service."""
