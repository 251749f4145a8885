"""Ralph with a file, which grows here as a database does: by itself it would take one request. Its socket is given."""

from __future__ import annotations

import sys

import uvicorn
from ralph.backends.data.base import BaseOperationType
from ralph.backends.data.fs import FSDataBackend

if __name__ == "__main__":
    FSDataBackend.default_operation_type = BaseOperationType.APPEND
    uvicorn.run("ralph.api:app", fd=int(sys.argv[1]), log_level="warning")
