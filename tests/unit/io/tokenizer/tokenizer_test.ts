import assert from "node:assert/strict";
import type { FileSet } from "../../../../src/io/files/files.ts";
import {
  checkpointTokenizer,
  openTokenizer,
} from "../../../../src/io/open_tokenizer.ts";
import { openCheckpointFrom } from "../../../../src/io/recognise.ts";
import { IoError } from "../../../../src/io/files/errors.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { files, goldenBytes, rejects } from "../helpers.ts";

const GOLDEN = new URL("../../../golden/tokenizer/", import.meta.url);

function bytesOf(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(name, GOLDEN));
}

type Json = Record<string, unknown>;

/** A byte-level tokenizer with the letters a, b, their pair, and a special token. */
function small(changes: Json = {}): Json {
  const added = { id: 4, content: "<end>", special: true, normalized: false };
  return {
    "added_tokens": [added],
    "pre_tokenizer": { type: "ByteLevel", "add_prefix_space": false },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: { a: 0, b: 1, ab: 2, "Ġ": 3 },
      merges: ["a b"],
    },
    ...changes,
  };
}

function folder(tokenizer: Json, config: Json = {}): FileSet {
  return files({
    "tokenizer.json": JSON.stringify(tokenizer),
    "tokenizer_config.json": JSON.stringify(config),
  });
}

Deno.test("openTokenizer() names what it looked for where there is no tokenizer", async () => {
  const empty = files({ "config.json": "{}" }, "model");
  await rejects(() => openTokenizer(empty), IoError, "model", "tokenizer.json");
});

Deno.test("encode() gives an id for each token and finds special tokens in text", async () => {
  const tokenizer = await openTokenizer(folder(small()));
  assert.deepEqual(
    Array.from(tokenizer.encode("ab a<end>b")),
    [2, 3, 0, 4, 1],
  );
  assert.equal(tokenizer.vocabSize, 5);
  assert.equal(tokenizer.idOf("ab"), 2);
  assert.equal(tokenizer.idOf("ba"), undefined);
  assert.equal(tokenizer.tokenOf(4), "<end>");
  assert.equal(tokenizer.tokenOf(5), undefined);
  assert.equal(tokenizer.bosId, undefined);
  assert.equal(tokenizer.addsBos, false);
});

Deno.test("decode() leaves out ids without a token, and special ones where asked", async () => {
  const tokenizer = await openTokenizer(folder(small()));
  const ids = [2, 99, 4, 3, 0];
  assert.equal(tokenizer.decode(ids), "ab<end> a");
  assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), "ab a");
  const stream = tokenizer.stream({ skipSpecialTokens: true });
  assert.equal(
    ids.map((id) => stream.push(id)).join("") + stream.end(),
    "ab a",
  );
});

Deno.test("the configuration adds special tokens; what stands around a text is tokenizer.json's to say", async () => {
  const tokenizer = await openTokenizer(folder(small(), {
    "bos_token": "<begin>",
    "eos_token": { content: "<end>" },
    "add_bos_token": true,
    "added_tokens_decoder": { "7": { content: "<seven>", special: true } },
  }));
  assert.equal(tokenizer.idOf("<seven>"), 7);
  assert.equal(tokenizer.bosId, 8);
  assert.equal(tokenizer.eosId, 4);
  assert.equal(tokenizer.addsBos, false);
  assert.deepEqual(Array.from(tokenizer.encode("<seven>a")), [7, 0]);
  assert.ok(tokenizer.isSpecial(8) && tokenizer.isSpecial(4));
  assert.ok(!tokenizer.isSpecial(0));
});

Deno.test("add_bos_token and add_eos_token count where there is no tokenizer.json", async () => {
  const text = { "tokenizer.model": bytesOf("llama/tokenizer.model") };
  const config = (value: Json) => ({
    ...text,
    "tokenizer_config.json": JSON.stringify(value),
  });
  const ends = async (
    set: Record<string, string | Uint8Array<ArrayBuffer>>,
  ) => {
    const tokenizer = await openTokenizer(files(set));
    const ids = tokenizer.encode("a");
    return [ids[0] === tokenizer.bosId, ids.at(-1) === tokenizer.eosId];
  };
  assert.deepEqual(await ends(text), [true, false]);
  assert.deepEqual(await ends(config({ "add_bos_token": false })), [
    false,
    false,
  ]);
  assert.deepEqual(
    await ends(config({ "add_bos_token": true, "add_eos_token": true })),
    [true, true],
  );
});

Deno.test("stream(): after other tokens the space of the first new word is there, as in the whole text", async () => {
  for (
    const set of [
      files({ "tokenizer.model": bytesOf("llama/tokenizer.model") }),
      files({ "spm.model": bytesOf("unigram/spm.model") }),
      files({ "vocab.txt": bytesOf("wordpiece/vocab.txt") }),
      folder(small()),
    ]
  ) {
    const tokenizer = await openTokenizer(set);
    const plain = { addSpecialTokens: false };
    const ids = Array.from(tokenizer.encode("a ab a b", plain));
    for (let from = 0; from <= ids.length; from++) {
      const before = ids.slice(0, from);
      const stream = tokenizer.stream({ after: before });
      assert.equal(
        tokenizer.decode(before) +
          ids.slice(from).map((id) => stream.push(id)).join("") +
          stream.end(),
        tokenizer.decode(ids),
      );
    }
  }
});

Deno.test("special_tokens_map.json serves where tokenizer_config.json does not say", async () => {
  const tokenizer = await openTokenizer(files({
    "tokenizer.json": JSON.stringify(small()),
    "special_tokens_map.json": `{"eos_token": {"content": "<end>"}}`,
  }));
  assert.equal(tokenizer.eosId, 4);
});

Deno.test("encodePair() keeps an empty second text", async () => {
  const tokenizer = await openTokenizer(
    files({ "vocab.txt": bytesOf("wordpiece/vocab.txt") }),
  );
  const { ids, typeIds } = tokenizer.encodePair("", "");
  const [cls, sep] = ["[CLS]", "[SEP]"].map((token) => tokenizer.idOf(token));
  assert.deepEqual(Array.from(ids), [cls, sep, sep]);
  assert.deepEqual(Array.from(typeIds), [0, 0, 1]);
});

Deno.test("checkpointTokenizer() and openTokenizer() read the vocabulary of a GGUF file", async () => {
  const bytes = await goldenBytes("llama.gguf");
  const source = bytesSource(bytes, "llama.gguf");
  await using checkpoint = await openCheckpointFrom(
    new Map([["llama.gguf", source]]),
  );
  const opened = [
    await checkpointTokenizer(checkpoint),
    await openTokenizer(files({ "llama.gguf": bytes })),
  ];
  for (const tokenizer of opened) {
    const ids = tokenizer.encode("ab ab<|end|>");
    assert.deepEqual(Array.from(ids, (id) => tokenizer.tokenOf(id)), [
      "ab",
      "Ġ",
      "ab",
      "<|end|>",
    ]);
    assert.equal(tokenizer.decode(ids), "ab ab<|end|>");
    assert.ok(tokenizer.hasChatTemplate);
  }
});

Deno.test("characters listed in config.json make a tokenizer for each side", async () => {
  const config = { "grapheme_chars": "____'ab", "phoneme_chars": "____bæˈ" };
  const set = files({ "config.json": JSON.stringify(config) });
  const source = await openTokenizer(set);
  assert.deepEqual(Array.from(source.encode("ab'c ")), [1, 5, 6, 4, 3, 3, 2]);
  assert.equal(source.padId, 0);
  const target = await openTokenizer(set, { side: "target" });
  assert.deepEqual(Array.from(target.encode("bˈæb")), [1, 4, 6, 5, 4, 2]);
  const options = { skipSpecialTokens: true };
  assert.equal(target.decode([1, 4, 6, 5, 2, 0], options), "bˈæ");
});

Deno.test("a word of a hundred thousand characters is encoded in full", async () => {
  const long = "a".repeat(100_000);
  for (
    const set of [
      folder(small()),
      files({ "spm.model": bytesOf("unigram/spm.model") }),
      files({ "tokenizer.model": bytesOf("llama/tokenizer.model") }),
    ]
  ) {
    const tokenizer = await openTokenizer(set);
    const ids = tokenizer.encode(long, { addSpecialTokens: false });
    assert.equal(tokenizer.decode(ids), long);
  }
});

const EXPRESSIONS = [
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|\\s+(?!\\S)|\\s+",
  " ?[^(\\s|[.,!?…。，、।۔،])]+",
  "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}(?i:'x)?",
  "\\(\\)+|.+",
];

for (const regex of EXPRESSIONS) {
  Deno.test(`openTokenizer() takes the expression ${regex}`, async () => {
    const cut = { type: "Split", pattern: { Regex: regex } };
    const words = { type: "ByteLevel", "use_regex": false };
    const both = { type: "Sequence", pretokenizers: [cut, words] };
    const tokenizer = await openTokenizer(
      folder(small({ "pre_tokenizer": both })),
    );
    assert.deepEqual(Array.from(tokenizer.encode("ab")), [2]);
  });
}

const MALFORMED: Record<string, [Json | string, string]> = {
  "cut off": [JSON.stringify(small()).slice(0, 90), "not JSON"],
  "an array": ["[]", "an array"],
  "without a model": [small({ model: undefined }), "no model"],
  "of an unknown model": [small({ model: { type: "WordLevel" } }), "WordLevel"],
  "with an id that is no whole number": [
    small({ model: { type: "BPE", vocab: { a: 0.5 }, merges: [] } }),
    "0.5",
  ],
  "with an id of 2^31": [
    small({ model: { type: "BPE", vocab: { a: 2 ** 31 }, merges: [] } }),
    "2147483648",
  ],
  "with an id twice": [
    small({ model: { type: "BPE", vocab: { a: 0, b: 0 }, merges: [] } }),
    "two tokens",
  ],
  "with a merge of three": [
    small({ model: { type: "BPE", vocab: { a: 0 }, merges: ["a a a"] } }),
    "merge 0",
  ],
  "without merges": [
    small({ model: { type: "BPE", vocab: { a: 0 } } }),
    "no merges",
  ],
  "without its unknown token": [
    small({
      model: { type: "WordPiece", vocab: { a: 0 }, "unk_token": "[UNK]" },
    }),
    "[UNK]",
  ],
  "with a Unigram token without a score": [
    small({ model: { type: "Unigram", vocab: [["a"]], "unk_id": 0 } }),
    "token 0",
  ],
  "with a Unigram unknown outside": [
    small({ model: { type: "Unigram", vocab: [["a", 0]], "unk_id": 1 } }),
    "the id 1",
  ],
  "with an added token without an id": [
    small({ "added_tokens": [{ content: "<x>" }] }),
    "<x>",
  ],
  "with an unknown normaliser": [
    small({ normalizer: { type: "Rot13" } }),
    "Rot13",
  ],
  "with an unknown decoder": [small({ decoder: { type: "CTC" } }), "CTC"],
  "with a pattern of another kind": [
    small({ "pre_tokenizer": { type: "Split", pattern: { Glob: "*" } } }),
    "Glob",
  ],
  "with an expression of exponential time": [
    small({ "pre_tokenizer": { type: "Split", pattern: { Regex: "(a+)+b" } } }),
    "(a+)+b",
  ],
  "with another expression of exponential time": [
    small({
      normalizer: {
        type: "Replace",
        pattern: { Regex: "(?:[(]|a){2,}b" },
        content: "",
      },
    }),
    "{2,}",
  ],
  "with a malformed expression": [
    small({ "pre_tokenizer": { type: "Split", pattern: { Regex: "(" } } }),
    "tokenizer.json",
  ],
  "with a template of a token that is not there": [
    small({
      "post_processor": {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<none>", "type_id": 0 } }],
        pair: [{ SpecialToken: { id: "<none>", "type_id": 0 } }],
      },
    }),
    "not in the vocabulary",
  ],
  "with a template that is none": [
    small({ "post_processor": { type: "TemplateProcessing" } }),
    "tokenizer.json",
  ],
  "nested 100000 deep": [
    `{"model":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
    "500 deep",
  ],
  "with normalisers nested 20000 deep": [
    `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":${
      `{"type":"Sequence","normalizers":[`.repeat(20_000)
    }${"]}".repeat(20_000)}}`,
    "tokenizer.json",
  ],
};

for (const [what, [json, part]] of Object.entries(MALFORMED)) {
  Deno.test(`openTokenizer() refuses a tokenizer.json ${what}`, async () => {
    const text = typeof json === "string" ? json : JSON.stringify(json);
    const set = files({ "tokenizer.json": text }, "model");
    await assert.rejects(openTokenizer(set), (error) => {
      assert.ok(error instanceof SyntaxError || error instanceof TypeError);
      assert.ok(error.message.includes(part), error.message);
      assert.ok(error.message.includes("model/tokenizer.json"), error.message);
      assert.ok(error.message.length < 3000);
      return true;
    });
  });
}

const REFUSED: Record<string, [Record<string, string>, string]> = {
  "a vocab.txt without BERT's tokens": [{ "vocab.txt": "a\nb\n" }, "[UNK]"],
  "a merges.txt with a word alone": [
    { "vocab.json": `{"a": 0}`, "merges.txt": "#version: 0.2\na\n" },
    "line 2",
  ],
  "a vocab.json of texts": [
    { "vocab.json": `{"a": "b"}`, "merges.txt": "" },
    "has the id b",
  ],
  "a character of two ids": [
    { "config.json": `{"grapheme_chars": "____aa", "phoneme_chars": ""}` },
    "____aa",
  ],
  "an empty .model": [{ "tokenizer.model": "" }, "no pieces"],
  "a .model that is text": [
    { "tokenizer.model": "a list of words" },
    "SentencePiece",
  ],
  "a chat template that is none": [
    {
      "tokenizer.json": JSON.stringify(small()),
      "chat_template.jinja": "{% for %}",
    },
    'chat template of "model/chat_template.jinja": line 1: ',
  ],
};

for (const [what, [contents, part]] of Object.entries(REFUSED)) {
  Deno.test(`openTokenizer() refuses ${what}`, async () => {
    await rejects(
      () => openTokenizer(files(contents, "model")),
      SyntaxError,
      "model/",
      part,
    );
  });
}

const CORRUPTED = [
  "llama/tokenizer.model",
  "unigram/spm.model",
  "byte-level/tokenizer.json",
  "unigram-json/tokenizer.json",
];

for (const path of CORRUPTED) {
  Deno.test(`a corrupted ${path} opens or is refused by name`, async () => {
    const name = path.split("/")[1];
    const good = bytesOf(path);
    const random = new Random(5);
    const below = (n: number) => Math.floor(random.uniform() * n);
    let refused = 0;
    for (let i = 0; i < 60; i++) {
      const bytes = i % 3 === 0
        ? good.slice(0, below(good.length))
        : good.slice();
      for (let flips = below(4); flips >= 0; flips--) {
        bytes[below(bytes.length)] = below(256);
      }
      try {
        const tokenizer = await openTokenizer(files({ [name]: bytes }));
        tokenizer.decode(tokenizer.encode("Hello, ab 12 \u{1f642} world"));
      } catch (error) {
        refused++;
        assert.ok(error instanceof SyntaxError || error instanceof TypeError);
        assert.ok(error.message.includes(name), error.message);
      }
    }
    assert.ok(refused > 10);
  });
}
