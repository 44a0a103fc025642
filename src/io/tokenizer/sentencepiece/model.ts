/**
 * SentencePiece `.model` files as the contents of a `tokenizer.json`.
 *
 * The file is a protocol buffer (`sentencepiece_model.proto`): pieces with scores and types, how it was trained,
 * how text is normalised. Models of the kinds BPE and Unigram are read; text is cut as SentencePiece itself cuts it.
 *
 * @module
 */

import { FormatError, KindError } from "../../../errors.ts";
import { quoted } from "../../files/errors.ts";
import { scoredMerges } from "./scored_merges.ts";
import type { JsonObject } from "../../files/json.ts";
import { ProtoReader } from "./protobuf.ts";

/** Types of pieces: a piece of text is NORMAL; CONTROL and UNKNOWN stand for no text of their own. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/** More spaces than a text has. */
const MANY = 2 ** 31 - 1;

/** Kinds of models. */
const UNIGRAM = 1;
const BPE = 2;

/** Contents of the file. */
interface Spec {
  readonly pieces: string[];
  readonly scores: number[];
  readonly types: number[];
  kind: number;
  byteFallback: boolean;
  /** Ids of unknown, BOS, EOS and padding; -1 where there is none. */
  readonly ids: { unk: number; bos: number; eos: number; pad: number };
  charsmap: Uint8Array;
  dummyPrefix: boolean;
  removeExtraSpaces: boolean;
  escapeSpaces: boolean;
  spaceAsSuffix: boolean;
}

/** A tokenizer as its files would have it. */
export interface TokenizerContents {
  /** `tokenizer.json`. */
  readonly tokenizer: JsonObject;
  /** `tokenizer_config.json`. */
  readonly config: JsonObject;
}

/**
 * Contents of `tokenizer.json` and `tokenizer_config.json` for a SentencePiece model. BOS is added to texts where
 * the model has one, unless the folder's own configuration says otherwise; EOS is not.
 *
 * @param bytes The whole file.
 * @param name Its name in errors.
 * @throws {SyntaxError} If the file is malformed.
 * @throws {TypeError} If it is of a kind that is not read here (word, char), or puts spaces behind words.
 */
export function sentencePieceTokenizer(
  bytes: Uint8Array,
  name: string,
): TokenizerContents {
  const spec = readSpec(bytes, name);
  const { pieces, types, ids } = spec;
  const piece = (id: number) => id >= 0 ? pieces[id] : undefined;
  const named = Object.entries({
    bos_token: piece(ids.bos),
    eos_token: piece(ids.eos),
    unk_token: piece(ids.unk),
    pad_token: piece(ids.pad),
  }).filter(([, token]) => token !== undefined);
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: pieces.flatMap((content, id) =>
        types[id] === CONTROL || types[id] === USER_DEFINED ||
          types[id] === UNKNOWN
          ? [{
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: types[id] !== USER_DEFINED,
          }]
          : []
      ),
      normalizer: normalizer(spec),
      pre_tokenizer: null,
      post_processor: null,
      decoder: decoder(spec),
      model: model(spec, name),
    },
    config: { ...Object.fromEntries(named), add_bos_token: ids.bos >= 0 },
  };
}

function readSpec(bytes: Uint8Array, name: string): Spec {
  const bad = (reason: string) =>
    new FormatError(
      `Cannot read ${quoted(name)} as a SentencePiece model: ${reason}`,
    );
  const spec: Spec = {
    pieces: [],
    scores: [],
    types: [],
    kind: UNIGRAM,
    byteFallback: false,
    ids: { unk: 0, bos: 1, eos: 2, pad: -1 },
    charsmap: new Uint8Array(),
    dummyPrefix: true,
    removeExtraSpaces: true,
    escapeSpaces: true,
    spaceAsSuffix: false,
  };
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const onPiece = (reader: ProtoReader) => {
    let content: string | undefined;
    let score = 0;
    let type = NORMAL;
    for (const field of reader.fields()) {
      if (field === 1) {
        const raw = reader.bytes("a piece");
        try {
          content = text.decode(raw);
        } catch {
          throw bad(`piece ${spec.pieces.length} is not UTF-8`);
        }
      } else if (field === 2) score = reader.float("a score");
      else if (field === 3) type = reader.int32("a piece's type");
      else reader.skip();
    }
    if (!content) throw bad(`piece ${spec.pieces.length} is empty`);
    if (!Number.isFinite(score)) throw bad(`the score of ${quoted(content)}`);
    spec.pieces.push(content);
    spec.scores.push(score);
    spec.types.push(type);
  };
  const onTrainer = (reader: ProtoReader) => {
    for (const field of reader.fields()) {
      if (field === 3) spec.kind = reader.int32("the kind of the model");
      else if (field === 24) spec.spaceAsSuffix = reader.flag("a flag");
      else if (field === 35) spec.byteFallback = reader.flag("byte_fallback");
      else if (field === 40) spec.ids.unk = reader.int32("unk_id");
      else if (field === 41) spec.ids.bos = reader.int32("bos_id");
      else if (field === 42) spec.ids.eos = reader.int32("eos_id");
      else if (field === 43) spec.ids.pad = reader.int32("pad_id");
      else reader.skip();
    }
  };
  const onNormalizer = (reader: ProtoReader) => {
    for (const field of reader.fields()) {
      if (field === 2) spec.charsmap = reader.bytes("precompiled_charsmap");
      else if (field === 3) spec.dummyPrefix = reader.flag("add_dummy_prefix");
      else if (field === 4) spec.removeExtraSpaces = reader.flag("a flag");
      else if (field === 5) spec.escapeSpaces = reader.flag("a flag");
      else reader.skip();
    }
  };
  const file = new ProtoReader(bytes, bad);
  for (const field of file.fields()) {
    if (field === 1) onPiece(file.message("a piece"));
    else if (field === 2) onTrainer(file.message("trainer_spec"));
    else if (field === 3) onNormalizer(file.message("normalizer_spec"));
    else file.skip();
  }
  checkSpec(spec, { name, bad });
  return spec;
}

function checkSpec(
  spec: Spec,
  { name, bad }: { name: string; bad: (reason: string) => SyntaxError },
): void {
  const { pieces, ids } = spec;
  if (pieces.length === 0) throw bad("it has no pieces");
  if (new Set(pieces).size !== pieces.length) throw bad("a piece occurs twice");
  for (const [key, id] of Object.entries(ids)) {
    // The default ids hold for files that do not say; a model of one piece has no BOS then.
    if (id >= pieces.length) throw bad(`${key}_id ${id} is no piece`);
  }
  if (ids.unk < 0) throw bad("it has no unknown piece");
  if (spec.kind !== UNIGRAM && spec.kind !== BPE) {
    throw new KindError(
      `Cannot make a tokenizer from ${
        quoted(name)
      }: wanted a model of kind 1 (Unigram) or 2 (BPE), got ${spec.kind}`,
    );
  }
  if (spec.spaceAsSuffix || !spec.escapeSpaces) {
    throw new KindError(
      `Cannot make a tokenizer from ${
        quoted(name)
      }: wanted ▁ before words, got treat_whitespace_as_suffix ${spec.spaceAsSuffix}, escape_whitespaces ${spec.escapeSpaces}`,
    );
  }
}

function normalizer(
  { charsmap, dummyPrefix, removeExtraSpaces }: Spec,
): JsonObject {
  const parts: JsonObject[] = [];
  if (charsmap.length > 0 || removeExtraSpaces) {
    parts.push({
      type: "Precompiled",
      precompiled_charsmap: charsmap.toBase64(),
      // Not a key of Hugging Face's: their normaliser matches otherwise than SentencePiece does.
      sentencepiece: { removeExtraSpaces },
    });
  }
  if (dummyPrefix) parts.push({ type: "Prepend", prepend: "▁" });
  parts.push({ type: "Replace", pattern: { String: " " }, content: "▁" });
  return { type: "Sequence", normalizers: parts };
}

function decoder(
  { byteFallback, dummyPrefix, removeExtraSpaces }: Spec,
): JsonObject {
  // Where runs of spaces do not survive, those at the start go altogether.
  const start = removeExtraSpaces ? MANY : dummyPrefix ? 1 : 0;
  return {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      ...(byteFallback ? [{ type: "ByteFallback" }] : []),
      { type: "Fuse" },
      ...(start > 0 ? [{ type: "Strip", content: " ", start, stop: 0 }] : []),
    ],
  };
}

function model(
  { kind, pieces, scores, ids, byteFallback }: Spec,
  name: string,
): JsonObject {
  if (kind === UNIGRAM) {
    return {
      type: "Unigram",
      unk_id: ids.unk,
      vocab: pieces.map((piece, id) => [piece, scores[id]]),
      byte_fallback: byteFallback,
    };
  }
  return {
    type: "BPE",
    dropout: null,
    unk_token: pieces[ids.unk],
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: byteFallback,
    ignore_merges: false,
    vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    // A piece with a space in it is user-defined, and made by no merge.
    merges: scoredMerges(pieces, scores, name).map((merge) => merge.split(" "))
      .filter(({ length }) => length === 2),
  };
}
