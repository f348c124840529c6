"""The hook before an edit, as one would write it in Python: is this file claimed by me?"""

import json
import os
import sqlite3
import sys
import time

payload = json.load(sys.stdin)
path = payload["tool_input"]["file_path"]
name = os.path.relpath(path, payload["cwd"])
store = sqlite3.connect(sys.argv[1])
row = store.execute(
    "SELECT l.state, s.native_id, l.since_ms FROM lease l JOIN session s ON s.id = l.session"
    " WHERE l.kind = 'path' AND l.name = ?",
    (name,),
).fetchone()
fresh = row is not None and time.time() * 1000 - row[2] < 14 * 60 * 1000
if fresh and row[0] == "held" and row[1] == payload["session_id"]:
    print("covered")
