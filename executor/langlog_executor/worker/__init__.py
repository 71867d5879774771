"""The worker process: claims runs, executes graphs, reports their ends."""
