"""The service's page: `/` takes videos on and lists jobs, `/jobs/ID` shows one from the queue to its end."""

from serve_app.page.routes import page_routes

__all__ = ["page_routes"]
