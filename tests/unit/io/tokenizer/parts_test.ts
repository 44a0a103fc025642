import assert from "node:assert/strict";
import { Cursor } from "../../../../src/io/gguf/cursor.ts";
import { Charsmap } from "../../../../src/io/tokenizer/sentencepiece/charsmap.ts";
import { safeCuts } from "../../../../src/io/tokenizer/cut.ts";
import {
  decodeTokens,
  makeDecoder,
  TokenStream,
} from "../../../../src/io/tokenizer/decode.ts";
import { ProtoReader } from "../../../../src/io/tokenizer/sentencepiece/protobuf.ts";
import {
  type Behavior,
  bertWords,
  lowerCase,
  NUMERIC,
  splitText,
  trimSpaces,
  WORDS,
} from "../../../../src/io/tokenizer/text.ts";

const bad = (reason: string) => new SyntaxError(reason);

Deno.test("ProtoReader reads fields of each kind and steps over others", () => {
  const bytes = Uint8Array.of(
    ...[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ...[0x15, 0x00, 0x00, 0x80, 0x3f],
    ...[0x1a, 0x02, 0x61, 0x62],
    ...[0x21, 1, 2, 3, 4, 5, 6, 7, 8],
    ...[0x28, 0x01],
  );
  const reader = new ProtoReader(bytes, bad);
  const seen: unknown[] = [];
  for (const field of reader.fields()) {
    if (field === 1) seen.push(reader.int32("one"));
    else if (field === 2) seen.push(reader.float("two"));
    else if (field === 3) seen.push(...reader.bytes("three"));
    else if (field === 5) seen.push(reader.flag("five"));
    else reader.skip();
  }
  assert.deepEqual(seen, [-1, 1, 0x61, 0x62, true]);
});

const BROKEN: Record<string, [number[], RegExp]> = {
  "a length beyond the end": [
    [0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f],
    /claims 34359738367 bytes, 0 are left/,
  ],
  "a varint without an end": [Array(12).fill(0xff), /more than ten bytes/],
  "a number cut off": [[0x08, 0x80], /ends in/],
  "field 0": [[0x00], /field 0/],
  "a group": [[0x0b], /wire type 3/],
};

for (const [what, [bytes, message]] of Object.entries(BROKEN)) {
  Deno.test(`ProtoReader refuses ${what}`, () => {
    const reader = new ProtoReader(Uint8Array.from(bytes), bad);
    assert.throws(() => {
      for (const _ of reader.fields()) reader.skip();
    }, { name: "SyntaxError", message });
  });
}

const SPLITS: Record<Behavior, string[]> = {
  removed: ["a", "b"],
  isolated: ["a", "1", "2", "b", "3"],
  contiguous: ["a", "12", "b", "3"],
  mergedwithprevious: ["a1", "2", "b3"],
  mergedwithnext: ["a", "1", "2b", "3"],
};

for (const [behavior, parts] of Object.entries(SPLITS)) {
  Deno.test(`splitText() knows the behaviour ${behavior}`, () => {
    const options = { behavior: behavior as Behavior };
    assert.deepEqual(splitText("a12b3", NUMERIC, options), parts);
    assert.deepEqual(splitText("", NUMERIC, options), []);
  });
}

Deno.test("splitText() can take what does not match for a match", () => {
  const options = { behavior: "removed" as const, invert: true };
  assert.deepEqual(splitText("a12b3", NUMERIC, options), ["1", "2", "3"]);
});

Deno.test("text rules are Unicode's, not JavaScript's", () => {
  assert.deepEqual(bertWords("a\x85b\ufeffc, d。"), [
    "a",
    "b\ufeffc",
    ",",
    "d",
    "。",
  ]);
  assert.equal(lowerCase("ΟΔΟΣ İ"), "οδοσ i\u0307");
  assert.deepEqual("नमस्ते x_1!?".match(WORDS), ["नमस्ते", "x_1", "!?"]);
  const both = { left: true, right: true };
  assert.equal(trimSpaces("\x85\u3000a\ufeff \n", both), "a\ufeff");
});

Deno.test("safeCuts() cuts where no merge reaches across a space", () => {
  const merges = ["▁ ▁", "▁ a", ": ▁"];
  const cut = safeCuts({ type: "BPE", merges })!;
  assert.deepEqual(cut("▁a▁▁a:▁a▁"), ["▁a", "▁▁a:▁a", "▁"]);
  assert.deepEqual(cut(""), [""]);
  assert.equal(
    safeCuts({ type: "BPE", merges, "ignore_merges": true }),
    undefined,
  );
  const unigram = safeCuts({
    type: "Unigram",
    vocab: [["b▁c", -1], ["▁a", 0]],
  })!;
  assert.deepEqual(unigram("▁a▁b▁c"), ["▁a", "▁b▁c"]);
});

/** A character map of the keys a -> "x" and ab -> "yz". */
function smallMap(): Uint8Array<ArrayBuffer> {
  const units = new Uint32Array(512);
  const A = 0x61;
  const B = 0x62;
  const node = (label: number, offset: number, leaf: boolean) =>
    (offset << 10 | Number(leaf) << 8 | label) >>> 0;
  units[0] = node(0, 256, false);
  const a = 256 ^ A;
  units[a] = node(A, 128, true);
  units[a ^ 128] = 0x80000000;
  const b = a ^ 128 ^ B;
  units[b] = node(B, 64, true);
  units[b ^ 64] = 0x80000002;
  const out = new Uint8Array(4 + units.byteLength + 5);
  new DataView(out.buffer).setUint32(0, units.byteLength, true);
  out.set(new Uint8Array(units.buffer), 4);
  out.set(new TextEncoder().encode("x\0yz\0"), 4 + units.byteLength);
  return out;
}

Deno.test("Charsmap replaces the longest key, or a grapheme by its shortest", () => {
  const map = new Charsmap(smallMap(), "small");
  assert.equal(map.longest("abacé"), "yzxcé");
  assert.equal(map.graphemes("abacé"), "xbxcé");
  // A grapheme of three bytes that a key begins is replaced as a whole.
  assert.equal(map.graphemes("a\u0301b"), "xb");
  assert.equal(map.longest("a\u0301b"), "x\u0301b");
  assert.equal(new Charsmap(new Uint8Array(), "none").longest("ab"), "ab");
});

Deno.test("Charsmap refuses a trie beyond its end, and survives one that lies", () => {
  const bytes = smallMap();
  new DataView(bytes.buffer).setUint32(0, 2 ** 31, true);
  assert.throws(() => new Charsmap(bytes, "lie"), {
    name: "SyntaxError",
    message: /2147483648 bytes/,
  });
  for (let seed = 0; seed < 200; seed++) {
    const wild = smallMap();
    for (let i = 4; i < wild.length; i++) {
      wild[i] ^= (i * 2654435761 * (seed + 1)) >>> 24;
    }
    assert.equal(typeof new Charsmap(wild, "wild").longest("abab é"), "string");
  }
});

const LLAMA = {
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ],
};

Deno.test("a stream holds bytes back until they are a character", () => {
  const stream = new TokenStream(makeDecoder(LLAMA, "llama"));
  const tokens = ["▁", "<0xE2>", "<0x82>", "<0xAC>", "▁a", "<0xF0>", "b"];
  assert.deepEqual(tokens.map((token) => stream.push(token)), [
    "",
    "",
    "",
    "€",
    " a",
    "",
    "\ufffdb",
  ]);
  assert.equal(stream.push("<0xC3>"), "");
  assert.equal(stream.end(), "\ufffd");
});

Deno.test("broken bytes cost their run where bytes are a fallback, else only themselves", () => {
  const fallback = makeDecoder(LLAMA, "llama");
  assert.equal(decodeTokens(fallback, ["a", "<0xC3>", "<0xA9>"]), "aé");
  assert.equal(
    decodeTokens(fallback, ["<0xC3>", "<0xA9>", "<0xFF>", "a"]),
    "\ufffd\ufffd\ufffda",
  );
  const level = makeDecoder({ type: "ByteLevel" }, "gpt2");
  assert.equal(
    decodeTokens(level, ["Ã©", "Ã", "ÿa", "一"]),
    "é\ufffd\ufffda一",
  );
});

Deno.test("U+FEFF is kept as text by decoders and by the cursor of a GGUF file", () => {
  assert.equal(
    decodeTokens(makeDecoder(LLAMA, "llama"), ["<0xEF>", "<0xBB>", "<0xBF>"]),
    "\ufeff",
  );
  const bytes = Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xbb, 0xbf);
  assert.equal(
    new Cursor(bytes, bytes.length, "small").string("a token"),
    "\ufeff",
  );
});

Deno.test("makeDecoder() joins tokens by spaces where there is no decoder", () => {
  assert.equal(decodeTokens(makeDecoder(null, "none"), ["a", "b"]), "a b");
});
