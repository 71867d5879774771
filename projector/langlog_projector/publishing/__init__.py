"""Messages that the projector publishes through Redis after a commit: replies that may be requested again, changes of lists."""
