"""The console: web pages for people, built from `console/` into the folder `static`, served at ``/console``."""
