"""Open edX: what a site of the platform needs beside the backend of event-tracking to move over."""
