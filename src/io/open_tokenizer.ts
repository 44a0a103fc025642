/**
 * Finds a tokenizer among the files of a model, in whichever form it is stored.
 *
 * @module
 */

import type { NamedBytes } from "./files/bytes.ts";
import { FormatError, KindError } from "../errors.ts";
import { compileChatTemplates } from "./chat/template.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { IoError, messageOf, quoted } from "./files/errors.ts";
import { type FileSet, readFile, sourceFiles } from "./files/files.ts";
import {
  decodeText,
  type JsonObject,
  MOST_TABLE,
  parseJsonObject,
} from "./files/json.ts";
import {
  type NamedTemplate,
  type NamedTemplates,
  templateOfFile,
  templatesOfConfig,
} from "./files/named_templates.ts";
import { bytesSource } from "./files/sources.ts";
import { openGguf } from "./gguf/file.ts";
import { ggufTokenizer } from "./gguf/tokenizer.ts";
import { modelConfig } from "./packed/config.ts";
import {
  characterTokenizer,
  hasCharacters,
  type Side,
} from "./tokenizer/chars.ts";
import { checkTokenizer } from "./tokenizer/check.ts";
import type { TokenizerFiles } from "./tokenizer/contents.ts";
import { makeDecoder } from "./tokenizer/decode.ts";
import { buildTokenizer, type LibraryTokenizer } from "./tokenizer/parts.ts";
import {
  sentencePieceTokenizer,
  type TokenizerContents,
} from "./tokenizer/sentencepiece/model.ts";
import {
  ROLES,
  tokenText,
  vocabulary,
  withSpecialTokens,
} from "./tokenizer/special.ts";
import {
  idsOf,
  LoadedTokenizer,
  type Tokenizer,
  type TokenizerOptions,
} from "./tokenizer/tokenizer.ts";
import { byteLevelTokenizer, wordPieceTokenizer } from "./tokenizer/vocab.ts";

/**
 * Reads the tokenizer among `files`: `tokenizer.json`; else a SentencePiece `.model`; else `vocab.json` with
 * `merges.txt`; else `vocab.txt`; else the vocabulary of the only `.gguf` file; else lists of characters in
 * `config.json`. `tokenizer_config.json` and `special_tokens_map.json` say the rest; beside a `tokenizer.json` their
 * `add_bos_token` and `add_eos_token` say nothing.
 *
 * @param side Source or target, of a model with a vocabulary for each.
 *
 * @throws {IoError} If there is none.
 * @throws {SyntaxError} If a file is malformed.
 * @throws {TypeError} If it is of a kind that is not read here.
 */
export async function readTokenizerFiles(
  files: FileSet,
  side: Side,
): Promise<TokenizerFiles> {
  const has = (name: string) => files.names.includes(name);
  const optional = async (name: string) =>
    has(name) ? parseJsonObject(...await named(files, name)) : {};
  const { add_bos_token, add_eos_token, ...said } = {
    ...await optional("special_tokens_map.json"),
    ...await optional("tokenizer_config.json"),
  } as JsonObject;
  // As transformers 5 has it: a tokenizer.json alone decides on the special tokens around a text.
  const given: JsonObject = has("tokenizer.json") ? said : {
    ...said,
    ...(add_bos_token !== undefined && { add_bos_token }),
    ...(add_eos_token !== undefined && { add_eos_token }),
  };
  const read = (name: string) => namedBytes(files, name);
  const models = files.names.filter((name) => name.endsWith(".model"));
  const ggufs = files.names.filter((name) => name.endsWith(".gguf"));
  const main = has("tokenizer.json")
    ? "tokenizer.json"
    : models.find((name) => name === "tokenizer.model") ??
      (models.length === 1
        ? models[0]
        : has("vocab.json") && has("merges.txt")
        ? "vocab.json"
        : has("vocab.txt")
        ? "vocab.txt"
        : ggufs.length === 1
        ? ggufs[0]
        : hasCharacters(modelConfig(await optional("config.json")))
        ? "config.json"
        : undefined);
  if (main === undefined) {
    throw new IoError(
      `Cannot open the tokenizer of ${
        quoted(files.name)
      }: wanted tokenizer.json, a SentencePiece .model, vocab.json with merges.txt, vocab.txt or a .gguf file, got ${
        files.names.slice(0, 8).map(quoted).join(", ") || "no files"
      }`,
      files.name,
    );
  }
  const name = `${files.name}/${main}`;
  let contents: TokenizerContents;
  if (main === "tokenizer.json") {
    const { bytes } = await read(main);
    contents = {
      tokenizer: parseJsonObject(bytes, name, { most: MOST_TABLE }),
      config: {},
    };
  } else if (main.endsWith(".model")) {
    contents = sentencePieceTokenizer((await read(main)).bytes, name);
  } else if (main === "vocab.json") {
    contents = byteLevelTokenizer(await read(main), await read("merges.txt"));
  } else if (main === "vocab.txt") {
    contents = wordPieceTokenizer(await read(main), given);
  } else if (main === "config.json") {
    contents = characterTokenizer(modelConfig(await optional(main)), {
      side,
      name,
    });
  } else {
    await using source = await files.open(main);
    const made = ggufTokenizer(await openGguf(source));
    contents = {
      tokenizer: made["tokenizer.json"],
      config: made["tokenizer_config.json"],
    };
  }
  const config = { ...contents.config, ...given };
  const checked = checkTokenizer(contents.tokenizer, name);
  return {
    name,
    tokenizer: withSpecialTokens(checked, config),
    config,
    chatTemplates: await chatTemplates(
      files,
      config,
      given.chat_template === undefined
        ? name
        : `${files.name}/tokenizer_config.json`,
    ),
  };
}

/** The templates among `files`; where there are none, those of the configuration, named `name` in errors. */
async function chatTemplates(
  files: FileSet,
  config: JsonObject,
  name: string,
): Promise<NamedTemplates> {
  const found = new Map<string, NamedTemplate>();
  for (const file of files.names) {
    const template = templateOfFile(file);
    if (template === undefined) continue;
    const [bytes, full] = await named(files, file);
    found.set(template, { text: decodeText(bytes, full), file: full });
  }
  return found.size > 0 ? found : templatesOfConfig(config.chat_template, name);
}

async function named(
  files: FileSet,
  name: string,
): Promise<[Uint8Array, string]> {
  return [await readFile(files, name), `${files.name}/${name}`];
}

async function namedBytes(files: FileSet, name: string): Promise<NamedBytes> {
  const [bytes, full] = await named(files, name);
  return { bytes, name: full };
}

/**
 * Opens the tokenizer among the files of a model: `tokenizer.json`, a SentencePiece `.model`, `vocab.json` with
 * `merges.txt`, `vocab.txt`, the vocabulary in a `.gguf` file, or characters in `config.json`, the first of these that
 * is there.
 *
 * Ids are those of Hugging Face's tokenizers library for a `tokenizer.json`, of SentencePiece for a `.model`.
 * Truncation and padding that a file sets are not applied.
 *
 * @throws {IoError} If there is none, or it cannot be read.
 * @throws {SyntaxError} If a file is malformed.
 * @throws {TypeError} If it is of a kind that loqa does not read.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { folderFiles, openTokenizer } from "@loqa/loqa/files";
 *
 * const tokenizer = await openTokenizer(await folderFiles("examples/model"));
 * assert.equal(tokenizer.decode(tokenizer.encode("boats", { addSpecialTokens: false })), "boats");
 * ```
 */
export async function openTokenizer(
  files: FileSet,
  { side = "source" }: TokenizerOptions = {},
): Promise<Tokenizer> {
  const read = await readTokenizerFiles(files, side);
  const { name, tokenizer, config } = read;
  const decoder = makeDecoder(tokenizer.decoder, name);
  let library: LibraryTokenizer;
  try {
    library = await buildTokenizer(tokenizer, name);
    // The tokens around texts are read only when there is a text.
    idsOf(library.encode("a", { text_pair: "a" }).ids);
  } catch (cause) {
    if (cause instanceof IoError || cause instanceof KindError) throw cause;
    throw new FormatError(
      `Cannot read the tokenizer ${quoted(name)}: ${messageOf(cause)}`,
      { cause },
    );
  }
  const roles = ROLES.flatMap((role) => {
    const text = tokenText(config[role]);
    return text === undefined ? [] : [[role, text] as const];
  });
  return new LoadedTokenizer({
    name,
    library,
    decoder,
    ids: vocabulary(tokenizer),
    special: new Set(
      (tokenizer.added_tokens as { id: number; special?: boolean }[])
        .filter((token) => token.special).map(({ id }) => id),
    ),
    roles,
    chat: read.chatTemplates.size === 0
      ? undefined
      : compileChatTemplates(read.chatTemplates, Object.fromEntries(roles)),
  });
}

/**
 * Opens the tokenizer that travels with a checkpoint, a GGUF file's included.
 *
 * @throws What {@linkcode openTokenizer} does.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { checkpointTokenizer, openCheckpoint } from "@loqa/loqa/files";
 *
 * await using checkpoint = await openCheckpoint("examples/model");
 * const tokenizer = await checkpointTokenizer(checkpoint);
 * const ids = tokenizer.encode("Anouk the singer", { addSpecialTokens: false });
 * assert.equal(tokenizer.decode(ids), "Anouk the singer");
 * ```
 */
export async function checkpointTokenizer(
  checkpoint: Checkpoint,
  options?: TokenizerOptions,
): Promise<Tokenizer> {
  const side = await checkpoint.sideFiles();
  const sources = new Map(
    side.map(({ name, bytes }) => [
      name,
      bytesSource(bytes, `${checkpoint.name}/${name}`),
    ]),
  );
  return await openTokenizer(sourceFiles(sources, checkpoint.name), options);
}
