"""An example service: analyses of shares, over HTTP with FastAPI and, the same, with aiohttp."""
