"""Images of projects: Dockerfiles line by line, compose files, and real builds."""
