"""The HTTP interface: a FastAPI application over `serve_app.jobs.interface.Jobs`."""
