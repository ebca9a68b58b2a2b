"""Where copies of rows and answers live, and how they are kept true to the database."""
