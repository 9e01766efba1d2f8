"""The pages: what stands where. Numbers come later, from the socket."""
