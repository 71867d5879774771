"""The project's graphs: loaded, drawn, described, and given their input."""
