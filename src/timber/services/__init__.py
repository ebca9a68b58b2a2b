"""One domain each: what may be done with sessions and research, and a service for any configured model."""
