"""The collector: takes events from browsers and other clients over HTTP, and serves the browser's client."""
