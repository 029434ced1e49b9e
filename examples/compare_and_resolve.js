// Reads a key under policy `siblings`, merges concurrent versions and writes the result back (ioredis).
//
//     node compare_and_resolve.js PORT KEY [FIELD]     prints the value
//
// Two clients at two leaders may do this at once: `merge` gives the same for the same values in any order, and
// versions of equal bytes are no conflict. So all agree, whoever comes first.
const Redis = require('ioredis');

// The value of a key, or of a field of a hash; null if there is none.
async function read(client, key, merge, field, attempts = 10) {
  const place = field === undefined ? [] : ['FIELD', field];
  for (let i = 0; i < attempts; i++) {
    try {
      return field === undefined ? await client.get(key) : await client.hget(key, field);
    } catch (error) {
      if (!error.message.startsWith('CONFLICT ')) throw error;
    }
    const found = await client.call('CONFLICT', 'GET', key, ...place);
    if (found === null) continue; // deleted or resolved meanwhile
    const [token, versions] = found;
    const value = merge(versions.map((version) => version[0])); // null: deleted at that leader
    try {
      // Replaces exactly the versions that were read: one that came in meanwhile stays, and the next attempt
      // meets it.
      await client.call('CONFLICT', 'RESOLVE', key, token, value, ...place);
    } catch (error) {
      if (!/^(NOTYET|ERR no such (key|field))/.test(error.message)) throw error;
    }
  }
  throw new Error(`${key} is still in conflict after ${attempts} attempts`);
}

const allOfThem = (values) => [...new Set(values.filter((value) => value !== null))].sort().join(' | ');

if (require.main === module) {
  (async () => {
    const [port, key, field] = process.argv.slice(2);
    if (key === undefined || process.argv.length > 5) {
      console.error('usage: node compare_and_resolve.js PORT KEY [FIELD]');
      process.exit(1);
    }
    const client = new Redis(Number(port));
    console.log(await read(client, key, allOfThem, field));
    await client.quit();
  })();
}

module.exports = { read };
