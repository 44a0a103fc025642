/**
 * Special tokens: the additions of a tokenizer's configuration to its vocabulary, and the tokens around texts.
 *
 * @module
 */

import { isObject, type JsonObject } from "../files/json.ts";

/** Keys of tokens with a role, in the order in which transformers adds them. */
export const ROLES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/** The text of a token in a configuration: a string, or an object with its content. */
export function tokenText(value: unknown): string | undefined {
  const text = isObject(value) ? value.content : value;
  return typeof text === "string" && text !== "" ? text : undefined;
}

/** Special tokens around a text, and between two. */
interface Around {
  readonly before: readonly string[];
  readonly between: readonly string[];
  readonly after: readonly string[];
  /** Type ids of the first and of the second text. */
  readonly types: readonly [number, number];
}

/** A `TemplateProcessing` post-processor. */
export function template(
  { before, between, after, types: [first, second] }: Around,
  ids: Readonly<Record<string, unknown>>,
): JsonObject {
  const special = (type_id: number) => (id: string) => ({
    SpecialToken: { id, type_id },
  });
  const head = [
    ...before.map(special(first)),
    { Sequence: { id: "A", type_id: first } },
  ];
  return {
    type: "TemplateProcessing",
    single: [...head, ...after.map(special(first))],
    pair: [
      ...head,
      ...between.map(special(first)),
      { Sequence: { id: "B", type_id: second } },
      ...after.map(special(second)),
    ],
    special_tokens: Object.fromEntries(
      [...before, ...between, ...after].map((
        token,
      ) => [token, { id: token, ids: [ids[token]], tokens: [token] }]),
    ),
  };
}

/**
 * `tokenizer` with the special tokens of `config`, as transformers does it on loading: tokens with a role are
 * special, and get the next ids where the vocabulary lacks them; `added_tokens_decoder` completes the added tokens;
 * `add_bos_token` and `add_eos_token`, where given, replace the post-processor (whoever reads the files leaves them out
 * beside a `tokenizer.json`, as transformers does); without one, a second text has type 1.
 *
 * @param tokenizer A checked `tokenizer.json`.
 * @param config A checked `tokenizer_config.json`.
 */
export function withSpecialTokens(
  tokenizer: JsonObject,
  config: JsonObject,
): JsonObject {
  const added = new Map(
    (tokenizer.added_tokens as JsonObject[]).map((
      token,
    ) => [token.content as string, token]),
  );
  const ids = vocabulary(tokenizer);
  let next = 0;
  for (const id of ids.values()) next = Math.max(next, id + 1);
  const taken = new Set(ids.values());
  const add = (token: JsonObject, id?: number): void => {
    const content = token.content as string;
    const at = ids.get(content) ?? (id === undefined ? next : id);
    next = Math.max(next, at + 1);
    ids.set(content, at);
    taken.add(at);
    added.set(content, {
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      ...added.get(content),
      ...token,
      id: at,
    });
  };
  const decoder = isObject(config.added_tokens_decoder)
    ? config.added_tokens_decoder
    : {};
  for (const [key, token] of Object.entries(decoder)) {
    const id = Number(key);
    if (!isObject(token) || tokenText(token) === undefined) continue;
    if (!Number.isSafeInteger(id) || taken.has(id)) continue;
    if (!added.has(tokenText(token)!)) add(token, id);
  }
  const extra = [
    config.additional_special_tokens,
    config.extra_special_tokens,
  ].flatMap((list) => Array.isArray(list) ? list : []);
  for (const token of [...ROLES.map((role) => config[role]), ...extra]) {
    const content = tokenText(token);
    if (content === undefined || added.get(content)?.special) continue;
    const flags = isObject(token) && !added.has(content) ? token : {};
    add({ ...flags, content, special: true });
  }
  return {
    ...tokenizer,
    added_tokens: [...added.values()],
    post_processor: postProcessor(tokenizer, { config, ids }),
  };
}

/** Ids by token, added tokens included. */
export function vocabulary(tokenizer: JsonObject): Map<string, number> {
  const { vocab } = tokenizer.model as JsonObject;
  const ids = new Map<string, number>(
    Array.isArray(vocab)
      ? vocab.map(([token], id) => [token, id])
      : Object.entries(vocab as Record<string, number>),
  );
  for (const { content, id } of tokenizer.added_tokens as JsonObject[]) {
    ids.set(content as string, id as number);
  }
  return ids;
}

function postProcessor(
  tokenizer: JsonObject,
  { config, ids }: { config: JsonObject; ids: Map<string, number> },
): unknown {
  const { add_bos_token, add_eos_token } = config;
  const given = typeof add_bos_token === "boolean" ||
    typeof add_eos_token === "boolean";
  if (!given && tokenizer.post_processor) return tokenizer.post_processor;
  const bos = tokenText(config.bos_token);
  const eos = tokenText(config.eos_token);
  const before = add_bos_token === true && bos !== undefined ? [bos] : [];
  const after = add_eos_token === true && eos !== undefined ? [eos] : [];
  return template(
    { before, between: [...after, ...before], after, types: [0, 1] },
    Object.fromEntries([...before, ...after].map((t) => [t, ids.get(t)])),
  );
}
