"""Small apps in each framework. Each answers the paths of ``tests.support.web_client`` with events of the request."""
