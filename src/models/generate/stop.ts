/**
 * Stop tokens: all that a model's files name.
 *
 * @module
 */

import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { parseJsonObject } from "../../io/files/json.ts";
import type { Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import { type ConfigJson, ConfigReader } from "../../families/config_reader.ts";

const GENERATION = "generation_config.json";

/** A checkpoint's generation_config.json, where it has one. @throws {SyntaxError} If it is malformed. */
export async function generationConfig(
  checkpoint: Checkpoint,
): Promise<ConfigJson | undefined> {
  const file = (await checkpoint.sideFiles())
    .find(({ name }) => name === GENERATION);
  return file &&
    parseJsonObject(
      new TextDecoder().decode(file.bytes),
      `${checkpoint.name}/${GENERATION}`,
    );
}

/** End-of-turn token: the one behind an answer in the tokenizer's chat template, if that is a special token. */
function endOfTurn(tokenizer: Tokenizer): number | undefined {
  if (!tokenizer.hasChatTemplate) return undefined;
  const answer = "forty-two";
  let text: string;
  try {
    text = tokenizer.applyChatTemplate([
      { role: "user", content: "How many?" },
      { role: "assistant", content: answer },
    ]);
  } catch {
    // A template may want other conversations; the error is thrown where it is used.
    return undefined;
  }
  const behind = text.slice(text.lastIndexOf(answer) + answer.length);
  const [first] = tokenizer.encode(behind.trimStart(), {
    addSpecialTokens: false,
  });
  return first !== undefined && tokenizer.isSpecial(first) ? first : undefined;
}

/**
 * Tokens of which each ends a text: `eos_token_id`, a number or a list, of generation_config.json (of config.json where
 * that says nothing), as `generate` of transformers has it; the tokenizer's own EOS; and its chat template's end of turn.
 * A GGUF file's ends of turns and messages are in the generation_config.json that is made from it.
 *
 * @throws {SyntaxError} If a value of a file is no token.
 */
export async function stopTokens(
  checkpoint: Checkpoint,
  tokenizer: Tokenizer,
): Promise<number[]> {
  const { config, name } = checkpoint;
  const generation = await generationConfig(checkpoint);
  const own = generation &&
    new ConfigReader(generation, name, { file: GENERATION });
  const named = own && own.get("eos_token_id") !== undefined
    ? own.tokens("eos_token_id")
    : new ConfigReader(config, name).tokens("eos_token_id");
  const all = [...named, tokenizer.eosId, endOfTurn(tokenizer)];
  return [...new Set(all.filter((id) => id !== undefined))];
}
