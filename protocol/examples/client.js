// A whole peer for any JavaScript that has WebSocket. `share` hands out the file's id; `fetchFile` fetches, checks every
// block and serves it on: await fetchFile("ws://127.0.0.1:9000/ws", "lobby", await share(url, "lobby", "notes.txt", bytes))
import { base64, bitfieldOf, hashOf, hex, isProved, manifestOf, partOf, plain, range, segmentsOf, spanOf, unpacked } from "./manifest.js";

// A peer of one file. Other peers' messages are handled by the functions of their names below.
class Peer {
  constructor(facts, blocks = []) { Object.assign(this, { facts, blocks, peers: new Map(), answers: [] }); }
  get count() { return Math.ceil(this.facts.size / this.facts.block_size); }
  get k() { return segmentsOf(this.facts.block_size); } // A block has so many segments, in which requests count.
  get bits() { return bitfieldOf(this.blocks, this.count); }
  async open(url, room) {
    this.socket = Object.assign(new WebSocket(url), { onmessage: ({ data }) => this.hear(JSON.parse(data)) });
    await new Promise((resolve, reject) => Object.assign(this.socket, { onopen: resolve, onerror: reject }));
    await this.ask("register", { protocol: 4, room });
    return this;
  }
  send(frame) { this.socket.send(JSON.stringify(frame)); }
  tell(to, type, fields) { this.send({ to, message: { type, file: this.facts.file.slice(0, 16), ...fields } }); }
  ask(type, fields) { // The tracker answers in the order of what it is asked.
    this.send({ seq: 0, type, ...fields });
    return new Promise((resolve, reject) => this.answers.push({ resolve, reject }));
  }
  hear(frame, { from, message, seq, type, peer, to, about } = frame) {
    if (seq === 0) this.answers.shift()[type === "error" ? "reject" : "resolve"](frame);
    else if (from) HEARD[message.type]?.(this, from, message, message.type.endsWith("manifest") || this.meet(from));
    else if (type === "peer_joined") this.meet(peer.id);
    else if (type === "peer_left") this.peers.delete(peer);
    else if (about?.type === "request") HEARD.reject(this, to, about, this.meet(to));
    else if (about) setTimeout(() => this.peers.has(to) && this.introduce(to), 1000); // Too much waits for it: says it again.
  }
  meet(id) { // By the tracker's word, or because it says something.
    if (!this.peers.has(id)) this.peers.set(id, { has: new Set(), chokes: true }) && this.hashes && this.introduce(id);
    return this.peers.get(id);
  }
  // Serves everybody, and wants whatever there is.
  introduce(id) { this.tell(id, "bitfield", { blocks: this.bits }); this.tell(id, "unchoke"); this.tell(id, "interested"); }
  next(id) { // One request at a time to each peer, for a block that nobody else is asked for.
    const peer = this.peers.get(id), asked = new Set([...this.peers.values()].map(other => other.asked));
    if (!peer || peer.chokes || peer.asked !== undefined) return;
    peer.asked = [...peer.has].find(i => !this.blocks[i] && !asked.has(i));
    if (peer.asked !== undefined) this.tell(id, "request", this.whole(peer.asked, this.facts));
  }
  whole(i, { size, block_size }) { return { index: i * this.k, count: segmentsOf(Math.min(block_size, size - i * block_size)) }; }
  part(id, part) { // Of somebody's manifest; nothing if it does not come.
    this.tell(id, "get_manifest", { file: this.facts.file, part });
    return new Promise(resolve => { this.gotPart = resolve; setTimeout(resolve, 5000); });
  }
}
const HEARD = { __proto__: null,
  get_manifest(me, from, { file, part }) {
    const isHere = me.hashes && file === me.facts.file;
    me.tell(from, isHere ? "manifest" : "no_manifest", isHere ? { ...me.facts, ...partOf(me, part) } : { file });
  },
  manifest: (me, from, message) => me.gotPart?.(message), no_manifest: me => me.gotPart?.(),
  bitfield(me, from, { blocks, begin }, peer) {
    peer.has = new Set(range(0, me.count).filter(i => plain(blocks)[i >> 3] & 128 >> i % 8));
    if (begin) Object.assign(peer, { chokes: true, asked: undefined }) && me.introduce(from);
    me.next(from);
  },
  have(me, from, { blocks }, peer) { me.next(from, blocks.forEach(([i, n]) => range(i, n).forEach(i => peer.has.add(i)))); },
  choke(me, from, _, peer) { peer.chokes = true; }, unchoke(me, from, _, peer) { me.next(from, peer.chokes = false); },
  reject(me, from, { index }, peer, i = Math.floor(index / me.k)) { // It may be asked for that again after a while.
    if (peer.has.delete(i)) setTimeout(() => me.next(from, peer.has.add(i)), 3000);
    me.next(from, peer.asked = undefined);
  },
  request(me, from, { index, count = 1 }) {
    const bytes = spanOf(me.blocks, me.k, index, count);
    me.tell(from, bytes ? "block" : "reject", { index, count, ...(bytes && { data: base64(bytes) }) });
  },
  block(me, from, { index, data }, peer, i = index / me.k) { // A whole one, because nothing else is asked for.
    if (hex(hashOf(plain(data), i, me.facts.block_size, me.count)) !== hex(me.hashes[i])) return me.peers.delete(from);
    me.blocks[i] = plain(data, peer.asked = undefined);
    me.peers.forEach((_, id) => { me.tell(id, "have", { blocks: [[i, 1]] }); me.next(id); });
    if (me.blocks.filter(Boolean).length === me.count) me.done();
  },
};
export async function share(url, room, name, bytes, block_size = 4096) {
  const { file, blocks, hashes, tail } = manifestOf(bytes, block_size);
  const me = Object.assign(new Peer({ file, name, size: bytes.length, block_size }, blocks), { hashes, tail });
  await (await me.open(url, room)).ask("announce", { ...me.facts, blocks: me.bits });
  return file;
}
export async function fetchFile(url, room, file) {
  const me = await new Peer({ file }).open(url, room);
  for (const { id } of (await me.ask("get_peers", { file, limit: 50 })).peers) {
    const last = await me.part(id), parts = [];
    for (let part = 0; part < last?.part; part++) parts.push(await me.part(id, part));
    const { name, size, block_size } = last ?? {}, facts = { file, name, size, block_size }, tail = plain(last?.tail);
    const hashes = [...parts, last].flatMap(part => unpacked(plain(part?.hashes)));
    if (!last || !isProved(facts, hashes, tail)) continue;
    Object.assign(me, { facts, hashes, tail });
    const finished = size && new Promise(resolve => me.done = resolve);
    await me.ask("announce", { ...facts, blocks: me.bits });
    (await me.ask("get_peers", { file, limit: 20 })).peers.forEach(({ id }) => me.meet(id));
    await finished;
    return Uint8Array.from(me.blocks.flatMap(block => [...block]));
  }
  throw Error("nobody has the file");
}
