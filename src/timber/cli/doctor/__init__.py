"""``timber doctor``: what is wrong with a database and the way to it, or soon will be, and what to do."""
