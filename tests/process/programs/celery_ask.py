"""celery_ask.py JOBS: asks the workers for what celery_app.py has, and checks the answers."""

import sys
import time

from celery import chain, chord, group

from celery_app import add, app, fail, third_time, total

PATIENCE_S = 60
results = [add.delay(n, n) for n in range(int(sys.argv[1]))]
assert [result.get(timeout=PATIENCE_S) for result in results] == [2 * n for n in range(int(sys.argv[1]))]
assert group(add.s(n, 1) for n in range(5))().get(timeout=PATIENCE_S) == [1, 2, 3, 4, 5]
assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=PATIENCE_S) == 10
assert chord((add.s(n, n) for n in range(10)), total.s())().get(timeout=PATIENCE_S) == 90
assert third_time.delay().get(timeout=PATIENCE_S) == 2
try:
    fail.delay().get(timeout=PATIENCE_S)
    raise AssertionError("an error of a task did not arrive")
except KeyError as error:
    assert "on purpose" in str(error), error
begin = time.monotonic()
assert add.apply_async((1, 1), countdown=1).get(timeout=PATIENCE_S) == 2 and time.monotonic() - begin >= 1
print(len(app.control.ping(timeout=2)))
