/**
 * `loqa generate`.
 *
 * @module
 */

import { promptTokens } from "../../io/tokenizer/prompt.ts";
import type { Device } from "../../device/device.ts";
import { KindError } from "../../errors.ts";
import type { ChatRecord } from "../../io/chat/template.ts";
import { readTextFile } from "../../io/files/deno.ts";
import { messageOf, quoted } from "../../io/files/errors.ts";
import { isObject } from "../../io/files/json.ts";
import { parseJsonExact } from "../../io/files/json_exact.ts";
import { checkpointTokenizer } from "../../io/open_tokenizer.ts";
import type { Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import { checkKind, ofKind } from "../../models/families.ts";
import { checkPrompts, generate } from "../../models/generate/causal.ts";
import { type OpenedModel, openModel } from "../../models/load/load.ts";
import { stopTokens } from "../../models/generate/stop.ts";
import { write } from "../../models/generate/seq2seq.ts";
import { VERSION } from "../../version.ts";
import {
  COMMON,
  COMPUTE,
  COMPUTES,
  optionHelp,
  type Options,
  parse,
  type Parsed,
  UsageError,
} from "../args.ts";
import { computeHasEffect, openChosen, readDeviceOptions } from "../device.ts";
import { PLACE, readPlace, tellNotes } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { readWriting, refuseWriting, WRITING } from "../beam_options.ts";
import { print, printPart } from "../output.ts";

const OPTIONS: Options = {
  prompt: { short: "p", value: "TEXT", help: "the prompt; needed" },
  chat: { help: "apply the model's chat template to the prompt" },
  system: {
    when: { chat: true },
    value: "TEXT",
    help: "system message before the prompt (--chat)",
  },
  tools: {
    when: { chat: true },
    value: "FILE",
    help: "tools that the model may call: a JSON list (--chat)",
  },
  "enable-thinking": {
    when: { chat: true },
    value: "true|false",
    default: "as the template has it",
    help:
      "enable_thinking of the template: thinking before the answer (--chat)",
  },
  "chat-template-kwargs": {
    when: { chat: true },
    value: "JSON",
    help: "further variables of the template: a JSON object (--chat)",
  },
  "max-new-tokens": {
    value: "N",
    default: "128",
    help: "maximum number of generated tokens",
  },
  temperature: {
    value: "X",
    default: "0",
    help: "sampling temperature; 0: greedy decoding",
  },
  "top-k": {
    when: { temperature: true },
    value: "N",
    default: "all",
    help: "top-k sampling: only the N most probable tokens",
  },
  "top-p": {
    when: { temperature: true },
    value: "X",
    default: "1",
    help:
      "top-p (nucleus) sampling: only the most probable tokens that together have this probability",
  },
  seed: { value: "N", default: "0", help: "random seed" },
  ...WRITING,
  ...PLACE,
  compute: COMPUTE,
  ...COMMON,
};

/** The page of `loqa generate --help`. */
export const help =
  `loqa generate DIR --prompt TEXT: generate text from a prompt

DIR is a folder that loqa wrote, a run or a checkpoint in it (DIR/runs/2), an adapter, or a model. The text goes to stdout token by token.
A causal LM continues the prompt; an encoder-decoder (BART) generates a target text from it by beam search.

  loqa generate smol-nf4 --prompt "Once upon a time"
  loqa generate smol-nf4 --chat --prompt "What is LoRA?" --temperature 0.7

Options:
${optionHelp(OPTIONS)}
`;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<number> {
  const args = parse(argv, OPTIONS);
  const path = args.one("generate", "DIR");
  const text = args.text("prompt");
  if (text === undefined) throw new UsageError("generate needs --prompt TEXT");
  const sampling = {
    maxNewTokens: args.number("max-new-tokens", { least: 1 }) ?? 128,
    temperature: args.number("temperature", { least: 0, fraction: true }),
    topK: args.number("top-k", { least: 1 }),
    topP: args.number("top-p", { least: 0, most: 1, fraction: true }),
    seed: args.number("seed"),
  };
  using progress = new Progress({ quiet: args.on("quiet") });
  const devices = readDeviceOptions(args, progress, { network: true });
  const compute = args.choice("compute", COMPUTES);
  await using opened = await openModel(path, await readPlace(args));
  tellNotes(opened.place, progress);
  // All that can be wrong with the prompt is reported before the weights are read.
  const { checkpoint } = opened;
  const tokenizer = await checkpointTokenizer(checkpoint);
  const onProgress = (done: number) =>
    progress.update(done, "loading the model");
  if (opened.kind === "seq2seq") {
    return await writeText(args, { opened, tokenizer, path, text, progress }, {
      open: () => openChosen(devices),
      how: { compute, onProgress },
    });
  }
  refuseWriting(args, path);
  checkKind(opened, "causal", `generate with ${path}`);
  const chat = args.on("chat");
  const prompt = chat
    ? chatTokens(tokenizer, await readChat(args, text))
    : someTokens(promptTokens(tokenizer, text), tokenizer.bosId);
  checkPrompts([prompt], opened.config);
  const stop = await stopTokens(checkpoint, tokenizer);
  using device = await openChosen(devices);
  await using loaded = await opened.load(device, { compute, onProgress });
  const model = ofKind(loaded.model, "causal", `generate with ${path}`);
  progress[Symbol.dispose]();
  computeHasEffect(compute, loaded.compute, progress);
  const json = args.on("json");
  const stream = tokenizer.stream({
    skipSpecialTokens: true,
    ...(!chat && { after: prompt }),
  });
  let written = "";
  const show = (part: string) => {
    if (!json) printPart(part);
  };
  const add = (part: string) => {
    written += part;
    show(part);
  };
  const began = performance.now();
  if (!chat) show(text);
  const [tokens] = await generate(model, [prompt], {
    ...sampling,
    stop,
    onToken: (_, token) => add(stream.push(token)),
  });
  add(stream.end());
  show("\n");
  const seconds = (performance.now() - began) / 1000;
  if (json) {
    print(JSON.stringify(
      {
        verb: "generate",
        version: VERSION,
        model: path,
        prompt: text,
        text: written,
        tokens,
        compute: loaded.compute,
        tokensPerSecond: tokens.length / seconds,
        seconds,
      },
      null,
      2,
    ));
  } else if (!args.on("quiet") && Deno.stderr.isTerminal()) {
    console.error(
      `${tokens.length} tokens, ${
        (tokens.length / seconds).toFixed(1)
      } tokens/s`,
    );
  }
  return 0;
}

/** Generates a target text from the prompt with an encoder-decoder. */
async function writeText(
  args: Parsed,
  { opened, tokenizer, path, text, progress }: {
    opened: OpenedModel;
    tokenizer: Tokenizer;
    path: string;
    text: string;
    progress: Progress;
  },
  { open, how }: {
    open: () => Promise<Device>;
    how: Parameters<OpenedModel["load"]>[1];
  },
): Promise<number> {
  const { checkpoint } = opened;
  const wrong = NOT_SEARCHED.find((name) =>
    args.on(name) || args.text(name) !== undefined
  );
  if (wrong !== undefined) {
    throw new UsageError(
      `--${wrong} is for causal LMs, ${path} is an encoder-decoder`,
    );
  }
  const decoder = await checkpointTokenizer(checkpoint, { side: "target" });
  const options = await readWriting(args, checkpoint);
  using device = await open();
  await using loaded = await opened.load(device, how);
  const model = ofKind(loaded.model, "seq2seq", `generate with ${path}`);
  progress[Symbol.dispose]();
  computeHasEffect(how?.compute, loaded.compute, progress);
  const began = performance.now();
  const [tokens] = await write(model, [tokenizer.encode(text)], options);
  const seconds = (performance.now() - began) / 1000;
  const written = decoder.decode(tokens, { skipSpecialTokens: true });
  print(
    args.on("json")
      ? JSON.stringify(
        {
          ...{ verb: "generate", version: VERSION, model: path, prompt: text },
          ...{ text: written, tokens, seconds, compute: loaded.compute },
          tokensPerSecond: tokens.length / seconds,
        },
        null,
        2,
      )
      : written,
  );
  return 0;
}

/** Options that say nothing to a beam search. */
const NOT_SEARCHED = [
  "chat",
  "max-new-tokens",
  "temperature",
  "top-k",
  "top-p",
] as const;

/** The conversation that the options make. @throws {UsageError} If one is malformed. */
async function readChat(args: Parsed, user: string): Promise<ChatRecord> {
  const system = args.text("system");
  const file = args.text("tools");
  const given = args.text("chat-template-kwargs");
  const thinking = args.choice("enable-thinking", ["true", "false"]);
  const kwargs = given === undefined
    ? {}
    : jsonOf(given, "--chat-template-kwargs");
  if (!isObject(kwargs)) {
    throw new UsageError("--chat-template-kwargs wants a JSON object");
  }
  const tools = file === undefined
    ? null
    : jsonOf(await readTextFile(file), `--tools ${file}`);
  if (tools !== null && !Array.isArray(tools)) {
    throw new UsageError(`--tools ${file} wants a JSON list`);
  }
  return {
    messages: [
      ...(system === undefined ? [] : [{ role: "system", content: system }]),
      { role: "user", content: user },
    ],
    tools,
    kwargs: {
      ...(kwargs instanceof Map ? Object.fromEntries(kwargs) : kwargs),
      ...(thinking !== undefined && { enable_thinking: thinking === "true" }),
    },
  };
}

function jsonOf(text: string, option: string): unknown {
  try {
    return parseJsonExact(text);
  } catch (error) {
    throw new UsageError(`${option} is not JSON: ${messageOf(error)}`);
  }
}

/** A question as the model's chat template puts it. @throws {TypeError} If there is none, or it refuses the question. */
function chatTokens(tokenizer: Tokenizer, chat: ChatRecord): Int32Array {
  const { chatTemplate, name } = tokenizer;
  if (!chatTemplate) {
    throw new KindError(
      `Cannot lay out a conversation: ${quoted(name)} has no chat template`,
    );
  }
  const { text } = chatTemplate.render(chat, { addGenerationPrompt: true });
  return tokenizer.encode(text, { addSpecialTokens: false });
}

/** A prompt has at least the token that begins a text. */
function someTokens(
  ids: Int32Array,
  bosId: number | undefined,
): Int32Array {
  if (ids.length > 0) return ids;
  if (bosId !== undefined) return Int32Array.of(bosId);
  throw new UsageError("--prompt is empty, and the model has no first token");
}
