"""Answers each line with facts about it, from extension modules, another library and a thread."""

import ctypes
import hashlib
import json
import math
import sys
import threading

libc = ctypes.CDLL("libc.so.6")
for line in sys.stdin:
    word = line.strip()
    lengths = []
    thread = threading.Thread(target=lambda: lengths.append(libc.strlen(word.encode())))
    thread.start()
    thread.join()
    digest = hashlib.sha256(word.encode()).hexdigest()[:12]
    print(json.dumps({"word": word, "sha256": digest, "strlen": lengths[0], "root": math.sqrt(len(word))}), flush=True)
sys.exit(4)
