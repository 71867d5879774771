"""The graph host: the process of Node beside a worker, on a project of these tests."""
