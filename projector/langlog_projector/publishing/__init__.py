"""What the projector publishes through Redis after a commit, put together: replies that may be asked for again, changes of lists."""
