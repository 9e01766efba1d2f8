"""What pages ask for and do over HTTP, beside what is pushed to them. One module a page."""
