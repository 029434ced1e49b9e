// BullMQ, unmodified. bullmq.js features PORT: what its queues do, at one leader.
// bullmq.js everywhere PORT,PORT,... JOBS: producers and workers at all leaders at once.
const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq');
const Redis = require('ioredis');

const ports = process.argv[3].split(',').map(Number);
const failures = [];
const open = [];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const connection = (i) => ({ host: '127.0.0.1', port: ports[i], maxRetriesPerRequest: null });

function check(what, got, want) {
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    failures.push(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
  }
}

async function until(what, condition, ms = 30000) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(20);
  }
}

function keep(what) {
  what.on('error', (error) => failures.push(`error event: ${error}`));
  open.push(what);
  return what;
}

const queue = (name, i = 0) => keep(new Queue(name, { connection: connection(i) }));
const worker = (name, work, options = {}, i = 0) => keep(new Worker(name, work, { connection: connection(i), ...options }));
const numbers = (count) => [...Array(count).keys()];

const features = {
  async events() {
    const jobs = queue('basic');
    const events = keep(new QueueEvents('basic', { connection: connection(0) }));
    const seen = { added: 0, active: 0, completed: 0 };
    for (const name of Object.keys(seen)) events.on(name, () => seen[name]++);
    await events.waitUntilReady();
    await sleep(300); // it reads from $: what is added before it reads would be missed
    worker('basic', async (job) => {
      await job.updateProgress(50);
      await job.log('a line');
      return job.data.n * 2;
    }, { concurrency: 5 });
    const added = await jobs.addBulk(numbers(20).map((n) => ({ name: 'job', data: { n } })));
    const one = await jobs.add('one', { n: 21 });
    check('what a job returns', await one.waitUntilFinished(events, 20000), 42);
    await until('all events', () => seen.added === 21 && seen.active === 21 && seen.completed === 21);
    const job = await jobs.getJob(added[3].id);
    check('a job', [job.returnvalue, job.progress, await job.getState()], [6, 50, 'completed']);
    check('its log', (await jobs.getJobLogs(job.id)).logs, ['a line']);
    check('counts', await jobs.getJobCounts('wait', 'active', 'completed', 'failed'),
      { wait: 0, active: 0, completed: 21, failed: 0 });
    await job.remove();
    check('clean', (await jobs.clean(0, 100, 'completed')).length, 20);
  },

  async delayed() {
    const jobs = queue('delayed');
    const done = [];
    for (const delay of [600, 200, 400]) await jobs.add('later', { delay }, { delay });
    worker('delayed', async (job) => {
      const due = job.timestamp + job.data.delay;
      done.push(due);
      if (Date.now() < due) failures.push(`a delayed job ran ${due - Date.now()} ms early`);
    });
    await until('delayed jobs', () => done.length === 3);
    check('the order of delayed jobs', done, [...done].sort((a, b) => a - b));
    await (await jobs.add('late', { delay: 0 }, { delay: 1e6 })).promote();
    await until('a promoted job', () => done.length === 4);
  },

  async priority() {
    const jobs = queue('priority');
    const order = [];
    for (const priority of [5, 1, 3, 2, 4]) await jobs.add('p', { priority }, { priority });
    await jobs.add('p', { priority: 0 });
    await jobs.add('p', { priority: -1 }, { lifo: true });
    worker('priority', async (job) => { order.push(job.data.priority); });
    await until('all', () => order.length === 7);
    check('order', order, [-1, 0, 1, 2, 3, 4, 5]);
  },

  async retries() {
    const jobs = queue('retries');
    let runs = 0;
    worker('retries', async () => { if (++runs < 3) throw new Error('again'); });
    const job = await jobs.add('r', {}, { attempts: 3, backoff: { type: 'fixed', delay: 50 } });
    await until('the third attempt', async () => (await job.getState()) === 'completed');
    check('runs', runs, 3);
    runs = -10;
    const failing = await jobs.add('r', {});
    await until('a failure', async () => (await failing.getState()) === 'failed');
    check('its reason', (await jobs.getJob(failing.id)).failedReason, 'again');
    runs = 5;
    await failing.retry();
    await until('its retry', async () => (await failing.getState()) === 'completed');
  },

  async schedulers() {
    const jobs = queue('scheduled');
    let runs = 0;
    worker('scheduled', async () => { runs++; });
    await jobs.upsertJobScheduler('ticks', { every: 150, limit: 3 }, { name: 'tick' });
    await until('three ticks', () => runs === 3);
    await sleep(400);
    check('ticks', runs, 3);
    await jobs.upsertJobScheduler('cron', { pattern: '* * * * * *' }, { name: 'tick' });
    await until('a tick of cron', () => runs >= 4);
    check('removed', await jobs.removeJobScheduler('cron'), true);
  },

  async flows() {
    const flows = keep(new FlowProducer({ connection: connection(0) }));
    let got;
    worker('child', async (job) => job.data.n * 10, { concurrency: 3 });
    worker('parent', async (job) => { got = Object.values(await job.getChildrenValues()).sort((a, b) => a - b); });
    const child = (n, children) => ({ name: 'c', data: { n }, queueName: 'child', children });
    const { job } = await flows.add({ name: 'p', queueName: 'parent', children: [child(1), child(2), child(3, [child(7)])] });
    await until('the parent', async () => (await job.getState()) === 'completed');
    check('what the children returned', got, [10, 20, 30]);
  },

  async limiter() {
    const jobs = queue('limited');
    const times = [];
    await jobs.addBulk(numbers(9).map((n) => ({ name: 'l', data: { n } })));
    worker('limited', async () => { times.push(Date.now()); }, { limiter: { max: 3, duration: 300 }, concurrency: 5 });
    await until('all', () => times.length === 9);
    // 600 ms, if the first was not held up itself.
    check('three in 300 ms', times[8] - times[0] >= 300, true);
  },

  async stalled() {
    const jobs = queue('stalled');
    let taken = false, done = 0, stalled = 0;
    const dead = worker('stalled', () => { taken = true; return new Promise(() => {}); },
      { lockDuration: 400, stalledInterval: 300, skipLockRenewal: true, skipStalledCheck: true });
    await jobs.add('s', {});
    await until('a worker that stops', () => taken);
    worker('stalled', async () => { done++; }, { stalledInterval: 300 }).on('stalled', () => stalled++);
    await until('its job is done by another', () => done === 1);
    check('stalled', stalled, 1);
    await dead.close(true);
  },

  async pausing() {
    const jobs = queue('paused');
    let done = 0;
    const first = await jobs.add('d', {}, { deduplication: { id: 'x' } });
    check('one of two', (await jobs.add('d', {}, { deduplication: { id: 'x' } })).id, first.id);
    await jobs.pause();
    worker('paused', async () => { done++; });
    await sleep(200);
    check('while paused', done, 0);
    await jobs.resume();
    await until('resumed', () => done === 1);
    for (const n of numbers(5)) await jobs.add('later', { n }, { delay: 1e6 });
    await jobs.drain(true);
    check('drained', await jobs.count(), 0);
    await jobs.pause();
    await jobs.obliterate({ force: true });
    const client = new Redis(ports[0]);
    check('obliterated', await client.keys('bull:paused:*'), []);
    client.disconnect();
  },
};

async function everywhere(count) {
  const done = new Map();
  const queues = ports.map((_, i) => queue('all', i));
  // A pop of a script that finds only other leaders' jobs gives nothing and asks for some: the worker tries again
  // after drainDelay seconds.
  ports.forEach((_, i) => worker('all', async (job) => { done.set(job.data.n, (done.get(job.data.n) || 0) + 1); },
    { concurrency: 4, drainDelay: 1 }, i));
  await Promise.all(queues.map(async (jobs, i) => {
    for (let n = i; n < count; n += ports.length) await jobs.add('j', { n }, { jobId: `job-${n}` });
  }));
  await until('all jobs', () => done.size === count, 120000);
  for (const jobs of queues) {
    await until('every leader shows them done', async () => {
      const counts = await jobs.getJobCounts('wait', 'active', 'completed');
      return counts.completed === count && counts.active === 0 && counts.wait === 0;
    });
  }
  check('done more than once', [...done.values()].filter((times) => times > 1).length, 0);
}

async function run(name, what) {
  try {
    await what();
  } catch (error) {
    failures.push(`${name}: ${error.stack}`);
  }
}

(async () => {
  if (process.argv[2] === 'everywhere') await run('everywhere', () => everywhere(Number(process.argv[4])));
  else await Promise.all(Object.entries(features).map(([name, what]) => run(name, what)));
  await Promise.all(open.reverse().map((each) => each.close()));
  if (failures.length) console.log(failures.join('\n'));
  process.exit(failures.length ? 1 : 0);
})();
