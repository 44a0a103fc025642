import assert from "node:assert/strict";
import { folderFiles } from "../../../../src/io/open.ts";
import { openTokenizer } from "../../../../src/io/open_tokenizer.ts";
import { inFolder } from "../../../helpers/model.ts";

const CHARS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?!é";

/** A tokenizer of pieces with a normaliser, as `tokenizer.json` has one. */
async function opened(
  parts: { normalizer?: unknown; pre?: unknown; bytes?: boolean },
  use: (tokenizer: Awaited<ReturnType<typeof openTokenizer>>) => void,
): Promise<void> {
  await inFolder(async (folder) => {
    const chars = parts.bytes
      ? Array.from({ length: 256 }, (_, i) =>
        String.fromCharCode(
          (i > 0x20 && i < 0x7f) || (i > 0xa0 && i !== 0xad) ? i : 0x100 +
            [...Array(256).keys()].filter((b) =>
              !((b > 0x20 && b < 0x7f) || (b > 0xa0 && b !== 0xad))
            ).indexOf(i),
        ))
      : [...CHARS, "▁", ..."éïê"];
    const bytes = parts.bytes
      ? []
      : Array.from({ length: 256 }, (_, i) =>
        `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
    const tokens = ["<unk>", ...bytes, ...new Set(chars), "th", "ĊĊ", "▁a"];
    const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
    const merges = [["t", "h"], ...parts.bytes ? [["Ċ", "Ċ"]] : [["▁", "a"]]];
    const special = ["<s>", "<|end|>"].map((content, i) => ({
      content,
      id: tokens.length + i,
      special: true,
      ...{
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      },
    }));
    await Deno.writeTextFile(
      `${folder}/tokenizer.json`,
      JSON.stringify({
        version: "1.0",
        added_tokens: special,
        normalizer: parts.normalizer ?? null,
        pre_tokenizer: parts.pre ?? null,
        post_processor: {
          type: "TemplateProcessing",
          single: [
            { SpecialToken: { id: "<s>", type_id: 0 } },
            { Sequence: { id: "A", type_id: 0 } },
          ],
          pair: [],
          special_tokens: {
            "<s>": { id: "<s>", ids: [tokens.length], tokens: ["<s>"] },
          },
        },
        decoder: null,
        model: {
          type: "BPE",
          unk_token: "<unk>",
          byte_fallback: !parts.bytes,
          fuse_unk: true,
          ignore_merges: false,
          vocab,
          merges,
        },
      }),
    );
    await Deno.writeTextFile(`${folder}/tokenizer_config.json`, "{}");
    use(await openTokenizer(await folderFiles(folder)));
  });
}

const BYTES = {
  type: "ByteLevel",
  "add_prefix_space": false,
  "use_regex": true,
  "trim_offsets": false,
};
const LLAMA = {
  type: "Sequence",
  normalizers: [
    { type: "Prepend", prepend: "▁" },
    { type: "Replace", pattern: { String: " " }, content: "▁" },
  ],
};

// What tokenizers 0.23 gives for the same files, in UTF-16 units; of an accent that a normaliser joins with its letter it
// tells the letter alone.
const CASES: readonly (readonly [
  string,
  { normalizer?: unknown; pre?: unknown; bytes?: boolean },
  string,
  boolean,
  (readonly [number, number])[],
])[] = [
  [
    "bytes of characters beyond ASCII",
    { pre: BYTES, bytes: true },
    "the é🙂.",
    false,
    [[0, 2], [2, 3], [3, 4], [4, 5], [4, 5], [5, 7], [5, 7], [5, 7], [5, 7], [
      7,
      8,
    ]],
  ],
  [
    "special tokens, and BOS before",
    { pre: BYTES, bytes: true },
    "a<|end|>\n\nb",
    true,
    [[0, 0], [0, 1], [1, 8], [8, 9], [9, 10], [10, 11]],
  ],
  [
    "a space put before each section",
    { normalizer: LLAMA },
    "a b<|end|>the",
    false,
    [[0, 1], [1, 2], [2, 3], [3, 10], [10, 11], [10, 12], [12, 13]],
  ],
  [
    "bytes for what has no token",
    { normalizer: LLAMA },
    "z🙂x",
    false,
    [[0, 1], [0, 1], [1, 3], [1, 3], [1, 3], [1, 3], [3, 4]],
  ],
  [
    "characters that a normaliser makes one of two, or two of one",
    { normalizer: { type: "NFKC" } },
    "e\u0301ﬁ.",
    false,
    [[0, 2], [2, 3], [2, 3], [3, 4]],
  ],
];

for (const [name, parts, text, addSpecialTokens, wanted] of CASES) {
  Deno.test(`encodeOffsets() tells where each token stands: ${name}`, () =>
    opened(parts, (tokenizer) => {
      const made = tokenizer.encodeOffsets(text, { addSpecialTokens });
      assert.deepEqual(
        [...made.ids],
        [...tokenizer.encode(text, { addSpecialTokens })],
      );
      assert.deepEqual(
        Array.from(made.starts, (start, i) => [start, made.ends[i]]),
        wanted,
      );
      assert.deepEqual(made.blurred, []);
    }));
}
