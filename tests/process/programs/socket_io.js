// Three servers of Socket.IO behind Redis: socket_io.js ADAPTER PORT,PORT,PORT (one leader for each server).
// "all" behind it: also what asks the other servers, which works at one leader only (PUBSUB NUMSUB counts its own).
const http = require('http');
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');
const streams = require('@socket.io/redis-streams-adapter');
const { Emitter } = require('@socket.io/redis-emitter');
const Redis = require('ioredis');
const { createClient } = require('redis');
const { Server } = require('socket.io');
const { io } = require('socket.io-client');

const [, , kind, list, all] = process.argv;
const ports = list.split(',').map(Number);
const failures = [];

function check(what, got, want) {
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    failures.push(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
  }
}

async function until(what, condition) {
  const end = Date.now() + 10000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within 10 s: ${what()}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

async function connected(port) {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  return client;
}

const adapters = {
  pubsub: async (port) => createAdapter(new Redis(port), new Redis(port)),
  sharded: async (port) => createShardedAdapter(await connected(port), await connected(port)),
  streams: async (port) => streams.createAdapter(await connected(port)),
};

(async () => {
  const servers = [], clients = [], got = [[], [], []];
  for (const [i, port] of ports.entries()) {
    const web = http.createServer();
    const server = new Server(web, { adapter: await adapters[kind](port) });
    server.on('connection', (socket) => {
      socket.on('join', (room, done) => { socket.join(room); done(); });
      socket.on('say', (room, text) => server.to(room).emit('said', text));
    });
    await new Promise((done) => web.listen(0, '127.0.0.1', done));
    const client = io(`http://127.0.0.1:${web.address().port}`, { transports: ['websocket'] });
    client.on('said', (text) => got[i].push(text));
    client.on('ask', (answer) => answer(i));
    await new Promise((done) => client.on('connect', done));
    await new Promise((done) => client.emit('join', i === 0 ? 'first' : 'others', done));
    servers.push(server);
    clients.push(client);
  }
  await new Promise((done) => setTimeout(done, 500)); // until the subscriptions stand
  const want = [[], [], []];
  const told = (text, who) => {
    who.forEach((i) => want[i].push(text));
    return until(() => `'${text}' is told: ${JSON.stringify(got)}`, () => who.every((i) => got[i].includes(text)));
  };
  servers[0].emit('said', 'to all');
  await told('to all', [0, 1, 2]);
  clients[0].emit('say', 'others', 'to a room');
  await told('to a room', [1, 2]);
  clients[2].emit('say', 'first', 'to one');
  await told('to one', [0]);
  if (kind === 'pubsub') {
    new Emitter(new Redis(ports[1])).emit('said', 'from outside');
    await told('from outside', [0, 1, 2]);
  }
  if (all) {
    check('sockets', (await servers[1].fetchSockets()).length, 3);
    check('acknowledgements', (await servers[0].timeout(5000).emitWithAck('ask')).sort(), [0, 1, 2]);
    servers.forEach((server, i) => server.on('hello', (answer) => answer(i)));
    check('servers', (await servers[0].serverSideEmitWithAck('hello')).sort(), [1, 2]);
  }
  check('each once, in order', got, want);
  servers[1].in('first').disconnectSockets();
  await until(() => 'a socket of another server is disconnected', () => !clients[0].connected);
})().catch((error) => failures.push(error.stack)).finally(() => {
  if (failures.length) console.log(failures.join('\n'));
  process.exit(failures.length ? 1 : 0);
});
