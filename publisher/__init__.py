"""Publishing: training runs, applications, sources and the HTTP gateway."""
