"""A measuring process that fails as its subject's engine says; it stands for `runtime.bench.worker` in tests."""

import json
import os
import sys

OPENED = {"load_ms": 1.0, "first_ms": 2.0, "precision": "fp32", "notes": ["a note"]}


def say(content: object) -> None:
    print(json.dumps(content), flush=True)


def main() -> None:
    fault = json.loads(sys.stdin.readline())["engine"]
    if fault == "silent":
        os._exit(5)
    if fault == "refuses":
        say({"error": "no such bundle", "kind": "BundleError"})
        return
    if fault == "unknown-kind":
        say({"error": "strange", "kind": "NoSuchError"})
        return
    say(OPENED)
    for line in sys.stdin:
        command = json.loads(line)
        if "warm" in command:
            say({"calls": 1})
        elif fault == "crashes":
            sys.stderr.write("Traceback\nValueError: the engine broke\n")
            sys.stderr.flush()
            os._exit(139)
        elif fault == "half":
            sys.stdout.write('{"times_ms": [1.0, 2')
            sys.stdout.flush()
            os._exit(0)
        elif fault == "error-later":
            say({"error": "out of memory", "kind": "EngineError"})
        else:
            say({"times_ms": [1.0] * command["runs"], "peak_memory_mb": 10.0})


if __name__ == "__main__":
    main()
