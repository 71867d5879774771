"""Images: a Dockerfile of a project, its build, and all services of it by compose."""
