// What a client needs of BLAKE3 (its specification, sections 2.1 to 2.5), for a runtime whose libraries give no chaining values.
// The chaining value of a chunk, or of a subtree, that begins at chunk number `at`; `root` for a whole file.
const CHUNK = 1024;
const PART = 256;
const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const MIXED = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
const rotated = (word, by) => word >>> by | word << 32 - by;
function compress(value, words, at, length, flags) {
  const v = Uint32Array.of(...value, ...IV.slice(0, 4), at, at / 2 ** 32, length, flags);
  for (let round = 0; round < 7; round++, words = ORDER.map(i => words[i]))
    MIXED.forEach(([a, b, c, d], i) => [[words[2 * i], 16, 12], [words[2 * i + 1], 8, 7]].forEach(([word, one, other]) => {
      v[a] += v[b] + word; v[d] = rotated(v[d] ^ v[a], one);
      v[c] += v[d]; v[b] = rotated(v[b] ^ v[c], other);
    }));
  return [...v.slice(0, 8)].map((word, i) => (word ^ v[i + 8]) >>> 0);
}
const parent = (left, right, root) => compress(IV, [...left, ...right], 0, 64, root ? 12 : 4);
const half = count => 2 ** Math.ceil(Math.log2(count) - 1);
function subtree(bytes, at, root) {
  if (bytes.length > CHUNK) {
    const left = half(Math.ceil(bytes.length / CHUNK));
    return parent(subtree(bytes.subarray(0, left * CHUNK), at), subtree(bytes.subarray(left * CHUNK), at + left), root);
  }
  let value = IV;
  for (let start = 0; start === 0 || start < bytes.length; start += 64) {
    const words = new Uint32Array(16), block = bytes.subarray(start, start + 64), isLast = start + 64 >= bytes.length;
    new Uint8Array(words.buffer).set(block);
    value = compress(value, [...words], at, block.length, (start ? 0 : 1) + (isLast ? (root ? 10 : 2) : 0));
  }
  return value;
}
const merge = (all, root) => all.length === 1 ? all[0] : parent(merge(all.slice(0, half(all.length))), merge(all.slice(half(all.length))), root);
const packed = hashes => new Uint8Array(Uint32Array.from(hashes.flat()).buffer);
export const unpacked = bytes => Array.from({ length: bytes.length / 32 }, (_, i) => [...new Uint32Array(bytes.slice(32 * i, 32 * i + 32).buffer)]);
export const hex = hash => Array.from(packed([hash]), byte => byte.toString(16).padStart(2, "0")).join("");
export const base64 = bytes => btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
export const plain = text => Uint8Array.from(atob(text ?? ""), letter => letter.charCodeAt(0));
export const range = (from, count) => Array.from({ length: count }, (_, i) => from + i);
// A part of a manifest: its hashes, those beside its way to the root, and in the last part the way to the last chunk.
export function partOf({ hashes, tail }, part = Math.max(0, Math.ceil(hashes.length / PART) - 1)) {
  const proof = [], start = part * PART;
  for (let rest = hashes, at = start; rest.length > PART;) {
    const left = half(rest.length), isLeft = at < left;
    proof.push(merge(isLeft ? rest.slice(left) : rest.slice(0, left)));
    [rest, at] = isLeft ? [rest.slice(0, left), at] : [rest.slice(left), at - left];
  }
  const isLast = start + PART >= hashes.length;
  return { part, hashes: base64(packed(hashes.slice(start, start + PART))), proof: base64(packed(proof)), tail: base64(isLast ? tail : []) };
}
function tailOf(bytes, at, tail = []) {
  if (bytes.length <= CHUNK) return [...tail, ...bytes];
  const left = half(Math.ceil(bytes.length / CHUNK));
  return tailOf(bytes.subarray(left * CHUNK), at + left, [...tail, ...packed([subtree(bytes.subarray(0, left * CHUNK), at)])]);
}
const tailHash = (tail, chunks, at, root) => chunks === 1 ? subtree(tail, at, root)
  : parent(unpacked(tail.subarray(0, 32))[0], tailHash(tail.subarray(32), chunks - half(chunks), at + half(chunks)), root);

// A file's id, the hashes of its blocks, and the proof of its size.
export function manifestOf(bytes, block_size) {
  const blocks = range(0, Math.ceil(bytes.length / block_size)).map(i => bytes.subarray(i * block_size, (i + 1) * block_size));
  const hashes = blocks.map((block, i) => hashOf(block, i, block_size, blocks.length));
  const tail = tailOf(blocks.at(-1) ?? [], (blocks.length - 1) * block_size / CHUNK);
  return { file: hex(subtree(bytes, 0, true)), blocks, hashes, tail };
}
export const hashOf = (block, i, block_size, count) => subtree(block, i * block_size / CHUNK, count === 1);

// Whether the hashes of all parts belong to the file, and the last part's tail to its size.
export function isProved({ file, size, block_size }, hashes, tail) {
  const count = Math.ceil(size / block_size), start = (count - 1) * block_size / CHUNK;
  if (hashes.length !== count) return false;
  if (count === 0) return file === hex(subtree(tail, 0, true));
  const last = tailHash(tail, Math.ceil(size / CHUNK) - start, start, count === 1);
  return file === hex(merge(hashes, true)) && hex(last) === hex(hashes.at(-1));
}

// Requests count in segments of 16 KiB, or of whole blocks if those are smaller: in how many so many bytes are, and the bytes
// of some, with so many to a block; nothing if a block is not here.
const SEGMENT = 16384;
export const segmentsOf = length => Math.ceil(length / SEGMENT);
export function spanOf(blocks, ofBlock, index, count) {
  const segment = i => blocks[Math.floor(i / ofBlock)]?.subarray(i % ofBlock * SEGMENT, (i % ofBlock + 1) * SEGMENT);
  const segments = range(index, count).map(segment);
  return segments.every(Boolean) && segments.flatMap(bytes => [...bytes]);
}

// Which of so many blocks are here, the first in the highest bit of the first byte.
export function bitfieldOf(blocks, count) {
  const byte = start => range(start, 8).reduce((bits, i) => bits << 1 | (blocks[i] ? 1 : 0), 0);
  return base64(range(0, Math.ceil(count / 8)).map(i => byte(8 * i)));
}
