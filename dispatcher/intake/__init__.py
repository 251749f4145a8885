"""What others send, read without I/O: JSON bodies, times by their clocks, and requests of edX's pages and apps."""
