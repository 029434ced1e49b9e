"""The tasks of test_celery: broker and results at the leader whose port is in PORT."""

import os

from celery import Celery

_LEADER = f"redis://127.0.0.1:{os.environ['PORT']}"
app = Celery("celery_app", broker=_LEADER + "/0", backend=_LEADER + "/1")
app.conf.broker_transport_options = {"polling_interval": 0.1}


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task
def fail():
    raise KeyError("on purpose")
