// The workloads by the official JavaScript client, as its documentation uses it. Started with one argument, the job as
// JSON; prints one line of JSON.

const { HubConnectionBuilder, LogLevel, Subject } = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");
const { performance } = require("node:perf_hooks");
const assert = require("node:assert");

const job = JSON.parse(process.argv[2]);
const STAMP = new Date("2024-01-02T03:04:05Z");

async function measure(burst) {
  await burst(Math.max(1, Math.floor(job.count / 10)));
  let items = 0;
  let elapsed;
  const began = performance.now();
  const cpuBegan = process.cpuUsage();
  while ((elapsed = (performance.now() - began) / 1000) < job.seconds) {
    await burst(job.count);
    items += job.count;
  }
  const cpu = process.cpuUsage(cpuBegan);
  return { items, seconds: elapsed, cpu: (cpu.user + cpu.system) / 1e6 };
}

async function timed(once) {
  let times = [];
  const answer = await measure(async (count) => {
    for (let i = 0; i < count; i++) {
      const began = performance.now();
      await once();
      times.push((performance.now() - began) / 1000);
    }
  });
  times = times.slice(-answer.items).sort((a, b) => a - b);
  return { ...answer, p50: times[times.length >> 1], p99: times[Math.floor((times.length * 99) / 100)] };
}

async function memory(openOne) {
  for (let i = 0; i < Math.max(1, job.count / 10); i++) await openOne();
  const before = resident();
  for (let i = 0; i < job.count; i++) await openOne();
  return { bytes: (resident() - before) / job.count };
}

function resident() {
  global.gc();
  return process.memoryUsage().rss;
}

function build() {
  const builder = new HubConnectionBuilder().withUrl(job.url).configureLogging(LogLevel.None);
  if (job.protocol === "messagepack") builder.withHubProtocol(new MessagePackHubProtocol());
  return builder.build();
}

async function opened() {
  const connection = build();
  await connection.start();
  return connection;
}

function workloads(connection) {
  const receive = (method, count, ...more) =>
    new Promise((resolve, reject) => {
      let received = 0;
      connection.stream(method, count, ...more).subscribe({
        next: () => received++,
        error: reject,
        complete: () => {
          assert.equal(received, count);
          resolve();
        },
      });
    });

  const upload = async (method, count, item, expected) => {
    const subject = new Subject();
    const answer = connection.invoke(method, subject);
    for (let i = 0; i < count; i++) subject.next(item(i));
    subject.complete();
    assert.equal(await answer, expected);
  };

  const add = async (i) => assert.equal(await connection.invoke("Add", i, 1), i + 1);

  const many = (count, what) => Promise.all(Array.from({ length: count }, (_, i) => what(i)));

  const connect = () => timed(async () => (await opened()).stop());

  return {
    ints: () => measure((count) => receive("Numbers", count)),
    objects: () => measure((count) => receive("Readings", count)),
    flushed: () => measure((count) => receive("FlushedCounter", count)),
    streams: () => measure((count) => many(count / 100, () => receive("Numbers", 100))),

    "upload-ints": () => measure((count) => upload("UploadChannel", count, (i) => i, (count * (count - 1)) / 2)),
    "upload-objects": () => {
      const items = Array.from({ length: job.count }, (_, i) => ({
        id: i, name: `item ${i}`, value: i / 4, flag: i % 2 === 0, stamp: STAMP,
      }));
      return measure((count) => upload("UploadReadings", count, (i) => items[i], count));
    },

    "at-once": () => measure((count) => many(count, add)),
    tasks: () =>
      measure((count) =>
        many(count / 50, async () => {
          for (let i = 0; i < 50; i++) await add(i);
        }),
      ),
    sequential: () => timed(() => add(1)),

    download: () =>
      measure(async (count) => {
        let payload = await connection.invoke("Bytes", count);
        if (job.protocol === "json") payload = Buffer.from(payload, "base64");
        assert.equal(payload.length, count);
      }),
    upload: () => {
      const payload = Buffer.alloc(job.count);
      return measure(async (count) => {
        const part = payload.subarray(0, count);
        assert.equal(await connection.invoke("Length", job.protocol === "json" ? part.toString("base64") : part), count);
      });
    },

    "stream-memory": () =>
      memory(async () => connection.stream("Silence").subscribe({ next() {}, error() {}, complete() {} })),
    "connection-memory": () => {
      const connections = [];
      return memory(async () => connections.push(await opened()));
    },
    connect,
    "connect-tls": connect,
  };
}

async function main() {
  const connection = await opened();
  const answer = await workloads(connection)[job.workload]();
  process.stdout.write(JSON.stringify(answer) + "\n", () => process.exit(0));
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
