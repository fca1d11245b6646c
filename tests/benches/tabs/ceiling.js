// One end of a bare transfer through the tracker. With no `sender` it serves; with one it fetches from it and
// discards. Nothing is hashed, stored or shown.

// The tracker lets peers ask each other only once it has introduced them in a file's swarm, so there is a file by name.
const FILE = "00".repeat(32);
const TAG = FILE.slice(0, 16);
// Requests count in segments of so many bytes.
const SEGMENT = 16384;
const now = () => performance.timeOrigin + performance.now();

onmessage = ({ data: { protocol, url, sender, bytes, frame, blocks, window } }) => {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const say = message => socket.send(JSON.stringify(message));
  socket.onopen = () => {
    say({ type: "register", protocol, room: "bench", binary: true });
    say({ type: "announce", file: FILE, name: "bench.bin", size: bytes, block_size: frame, blocks });
    if (sender) say({ type: "get_peers", file: FILE });
  };
  socket.onclose = event => postMessage({ failed: `closed with ${event.code} ${event.reason}` });
  const handle = sender ? receiver() : server();
  const ready = sender ? "peers" : "announced";
  let id;
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string") return handle(data);
    const message = JSON.parse(data);
    if (message.type === "registered") id = message.id;
    else if (message.type === ready) postMessage({ id });
    else if (message.type === "error") postMessage({ failed: data });
    else if (message.message) handle(message);
  };

  function server() {
    const payload = new Uint8Array(frame).map((_, index) => index * 31);
    // One frame for each receiver, made once: only the digits of index and count are written anew.
    const frames = new Map();
    const digits = 10;
    const encoder = new TextEncoder();
    const frameFor = to => {
      const before = `{"to":"${to}","message":{"type":"block","file":"${TAG}","index":`;
      const between = `,"count":`;
      const head = encoder.encode(`${before}${" ".repeat(digits)}${between}${" ".repeat(digits)}}}`);
      const whole = new Uint8Array(4 + head.length + frame);
      new DataView(whole.buffer).setUint32(0, head.length);
      whole.set(head, 4);
      whole.set(payload, 4 + head.length);
      const index = 4 + before.length;
      return { whole, index, count: index + digits + between.length, head: 4 + head.length };
    };
    return ({ from, message }) => {
      if (!frames.has(from)) frames.set(from, frameFor(from));
      const { whole, index, count, head } = frames.get(from);
      for (const [place, number] of [[index, message.index], [count, message.count ?? 1]]) {
        encoder.encodeInto(String(number).padStart(digits), whole.subarray(place, place + digits));
      }
      socket.send(whole.subarray(0, head + Math.min(frame, bytes - message.index * SEGMENT)));
    };
  }

  function receiver() {
    let requested = 0;
    let received = 0;
    const request = () => {
      if (requested * frame >= bytes) return;
      const count = Math.ceil(Math.min(frame, bytes - requested * frame) / SEGMENT);
      say({ to: sender, message: { type: "request", file: TAG, index: requested * frame / SEGMENT, count } });
      requested += 1;
    };
    new BroadcastChannel("bench").onmessage = () => {
      postMessage({ started: now() });
      for (let open = 0; open < window; open += 1) request();
    };
    return data => {
      if (!(data instanceof ArrayBuffer)) return;
      received += data.byteLength - 4 - new DataView(data).getUint32(0);
      request();
      if (received === bytes) postMessage({ complete: now() });
    };
  }
};
