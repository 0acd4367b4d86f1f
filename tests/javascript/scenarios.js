// What the official JavaScript client sees of a hub. Each scenario prints its observations, one JSON line each.
//
//   node scenarios.js SCENARIO URL TRANSPORT PROTOCOL
//
// The hub is the one of tests/twin.py. All waiting is for something to happen; who starts this sees to it that it ends.

const signalR = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");

const [scenario, url, transport, protocol] = process.argv.slice(2);

const TRANSPORTS = {
  websockets: signalR.HttpTransportType.WebSockets,
  server_sent_events: signalR.HttpTransportType.ServerSentEvents,
  long_polling: signalR.HttpTransportType.LongPolling,
  any: undefined,
};

function say(what, value) {
  console.log(JSON.stringify([what, value === undefined ? null : value]));
}

/** A builder of connections that log nothing. */
function builder(path = "", options = {}) {
  const built = new signalR.HubConnectionBuilder()
    .withUrl(url + path, { transport: TRANSPORTS[transport], ...options })
    .configureLogging(signalR.LogLevel.None);
  return protocol === "messagepack" ? built.withHubProtocol(new MessagePackHubProtocol()) : built;
}

/** What the promise fails with. */
async function failure(promise) {
  try {
    return `no failure, but ${JSON.stringify(await promise)}`;
  } catch (error) {
    return error.message;
  }
}

/** All items of a stream, and how it ended. */
function collect(stream, { dispose_after = Infinity } = {}) {
  return new Promise((resolve) => {
    const items = [];
    const subscription = stream.subscribe({
      next: (item) => {
        items.push(item);
        if (items.length === dispose_after) {
          subscription.dispose();
          resolve([items, "disposed"]);
        }
      },
      complete: () => resolve([items, "complete"]),
      error: (error) => resolve([items, error.message]),
    });
  });
}

/** A subject that sends these items and completes. */
function feed(subject, items) {
  for (const item of items) subject.next(item);
  subject.complete();
}

function event(register) {
  return new Promise((resolve) => register((...values) => resolve(values)));
}

const scenarios = {
  async invoke(hub) {
    say("sum", await hub.invoke("Add", 1, 2));
    say("void", await hub.invoke("Void"));
    for (const value of ["text", "ünï ✓", 1.5, true, null, [1, "two"], { key: [null] }]) {
      say("echo", await hub.invoke("Echo", value));
    }
    say("same id", (await hub.invoke("ConnectionId")) === hub.connectionId);
    say("large", (await hub.invoke("Big", 2000000)).length);
    say("many", await Promise.all([...Array(50).keys()].map((i) => hub.invoke("Add", i, i))));
  },

  async send(hub) {
    await hub.send("Record", "javascript", "sent");
    await hub.send("NoSuchMethod");
    say("sum", await hub.invoke("Add", 1, 2));
  },

  async errors(hub) {
    say("unexpected", await failure(hub.invoke("Fail")));
    say("public", await failure(hub.invoke("FailPublic")));
    say("unknown", await failure(hub.invoke("NoSuch")));
    say("count", await failure(hub.invoke("Add", 1)));
    say("types", await failure(hub.invoke("Add", 1, "two")));
    say("stream invoked", await failure(hub.invoke("Counter", 1, 0)));
    say("call streamed", await collect(hub.stream("Add", 1, 2)));
    say("sum", await hub.invoke("Add", 1, 2));
  },

  async stream(hub) {
    say("items", await collect(hub.stream("Counter", 5, 0)));
    say("objects", (await collect(hub.stream("Objects", 2)))[0].map((item) => Object.keys(item)));
    say("failing", await collect(hub.stream("FailingStream", 2)));
    say("failing in public", await collect(hub.stream("FailingStreamPublic", 2)));
    say("none", await collect(hub.stream("NullStream")));
    say("long", (await collect(hub.stream("Counter", 20000, 0)))[0].length);
  },

  async dispose(hub) {
    say("items", await collect(hub.stream("WatchedCounter", "javascript", 1000000, 10), { dispose_after: 3 }));
    say("sum", await hub.invoke("Add", 1, 2));
  },

  async upload(hub) {
    const words = new signalR.Subject();
    const joined = hub.invoke("UploadStream", words);
    feed(words, ["hello", "big", "world"]);
    say("joined", await joined);

    const bad = new signalR.Subject();
    const failed = failure(hub.invoke("UploadChannel", bad));
    bad.next(1);
    bad.error(new Error("client boom"));
    say("failed", await failed);

    const many = new signalR.Subject();
    const total = hub.invoke("UploadChannel", many);
    feed(many, Array(300).fill(2)); // each is a POST of its own, one after another
    say("total", await total);
  },

  async upload_and_stream(hub) {
    const numbers = new signalR.Subject();
    const doubled = collect(hub.stream("Transform", numbers));
    feed(numbers, [1, 2, 3]);
    say("doubled", await doubled);
  },

  // Not side by side: this client takes the second of two adjacent streams for a plain argument.
  async several_uploads(hub) {
    const [words, numbers] = [new signalR.Subject(), new signalR.Subject()];
    const both = hub.invoke("UploadApart", words, "label", numbers);
    words.next("a");
    numbers.next(1);
    words.next("b");
    feed(numbers, [2, 3]);
    words.complete();
    say("both", await both);
  },

  async on(hub) {
    const got = [];
    const all = event((done) => hub.on("number", (number) => got.push(number) === 50 && done()));
    await hub.invoke("CallMeMany", "number", 50);
    await all;
    say("numbers", got);
    const other = event((done) => hub.on("tell", done));
    await hub.invoke("JoinGroup", "tea");
    await hub.invoke("SendToGroup", "tea", "tell", { deep: [1] });
    say("told", await other);
  },

  async client_results(hub) {
    hub.on("double", (text) => text + text);
    hub.on("later", async (text) => `${text} later`);
    hub.on("fail", () => {
      throw new Error("bad");
    });
    hub.on("nothing", () => {});
    for (const target of ["double", "later", "fail", "nothing", "nobody"]) {
      say(target, await hub.invoke("AskMe", target, "ab"));
    }
  },

  async reconnect(hub) {
    const id = hub.connectionId;
    const reconnecting = event((done) => hub.onreconnecting(done)); // over event streams without an error
    const reconnected = event((done) => hub.onreconnected(done));
    const pending = failure(hub.invoke("DropMe"));
    await reconnecting;
    say("pending call failed", (await pending).length > 0);
    const [newId] = await reconnected;
    say("another id", newId !== id && newId === hub.connectionId);
    say("sum", await hub.invoke("Add", 1, 2));
  },

  async stateful_reconnect(hub) {
    const id = hub.connectionId;
    hub.onreconnecting(() => say("reconnecting"));
    const slow = hub.invoke("Slow", 500);
    const stream = collect(hub.stream("Counter", 40, 10));
    await hub.send("DropMe");
    say("stream", await stream);
    say("slow", await slow);
    say("same id", hub.connectionId === id);
    for (let i = 0; i < 5; i++) {
      // Acks come after a second: both before and after some, the numbers have to agree.
      if (i > 2) await new Promise((resolve) => setTimeout(resolve, 1200));
      await hub.send("DropMe");
      say("sum", await hub.invoke("Add", i, i));
    }
  },

  async stop(hub) {
    const closed = event((done) => hub.onclose(done));
    await hub.stop();
    say("closed", await closed);
    say("state", hub.state);
  },

  async aborted(hub) {
    const closed = event((done) => hub.onclose(done));
    say("pending", await failure(hub.invoke("Abort")));
    say("closed", (await closed).map((error) => error && error.message));
  },

  async too_large(hub) {
    const closed = event((done) => hub.onclose(done));
    await failure(hub.invoke("Echo", "x".repeat(40000)));
    say("closed", (await closed).map((error) => error && error.message));
  },
};

// These take care of their own connections.
const special = {
  async refused() {
    process.on("uncaughtException", () => {}); // over event streams this client also throws it where nobody can catch it
    say("refused", await failure(builder().build().start()));
  },

  async fallback() {
    const hub = builder().build();
    await hub.start();
    say("transport", await hub.invoke("TransportName"));
    await hub.stop();
  },

  async token() {
    say("without", await failure(builder().build().start()));
    const hub = builder("", { accessTokenFactory: () => "sesame" }).build();
    await hub.start();
    say("sum", await hub.invoke("Add", 1, 2));
    await hub.stop();
  },
};

async function main() {
  if (scenario in special) return special[scenario]();
  let built = builder();
  if (scenario === "reconnect") built = built.withAutomaticReconnect([0, 50, 100]);
  if (scenario === "stateful_reconnect") built = built.withStatefulReconnect();
  const hub = built.build();
  await hub.start();
  await scenarios[scenario](hub);
  await hub.stop();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
