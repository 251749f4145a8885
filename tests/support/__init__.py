"""What the tests are set up with: real Redis servers, real processes, and waiting with a deadline."""
