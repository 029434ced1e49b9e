"""rq_ask.py PORT[,PORT...] JOBS: puts jobs at each leader, waits until they are done, checks what came of them."""

import datetime
import sys
import time

import redis
from rq import Queue, Retry

from rq_jobs import double, fail

PATIENCE_S = 90
queues = [Queue("q", connection=redis.Redis(port=int(port))) for port in sys.argv[1].split(",")]
jobs = [queues[n % len(queues)].enqueue(double, n) for n in range(int(sys.argv[2]))]
behind = queues[0].enqueue(double, 100, depends_on=jobs[0])
later = queues[0].enqueue_in(datetime.timedelta(seconds=1), double, 7)
failing = [queues[0].enqueue(fail, retry=Retry(max=2)), queues[0].enqueue(fail)]
wanted = [(job, "finished") for job in jobs + [behind, later]] + [(job, "failed") for job in failing]
end = time.monotonic() + PATIENCE_S
while wanted:
    wanted = [(job, status) for job, status in wanted if job.get_status(refresh=True) != status]
    assert time.monotonic() < end, [(job.id, job.get_status(), status) for job, status in wanted]
    time.sleep(0.05)
assert [job.result for job in jobs] == [2 * n for n in range(len(jobs))] and behind.result == 200
assert "on purpose" in failing[1].exc_info
time.sleep(0.5)
for queue in queues:
    found = len(queue), queue.failed_job_registry.count, queue.finished_job_registry.count
    assert found == (0, 2, len(jobs) + 2), found
