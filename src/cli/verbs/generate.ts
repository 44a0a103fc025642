/**
 * `loqa generate`.
 *
 * @module
 */

import { chatTokens, promptTokens } from "../../io/tokenizer/prompt.ts";
import type { Device } from "../../device/device.ts";
import type { ChatRecord } from "../../io/chat/template.ts";
import { readTextFile } from "../../io/files/deno.ts";
import { messageOf } from "../../io/files/errors.ts";
import { isObject } from "../../io/files/json.ts";
import { parseJsonExact } from "../../io/files/json_exact.ts";
import { checkpointTokenizer } from "../../io/open_tokenizer.ts";
import type { Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import { checkKind, ofKind } from "../../models/families.ts";
import { checkPrompts, generate } from "../../models/generate/causal.ts";
import {
  type Compute,
  computeUnused,
  type OpenedModel,
  openModel,
} from "../../models/load/load.ts";
import { stopTokens } from "../../models/generate/stop.ts";
import { modelWriting, write } from "../../models/generate/seq2seq.ts";
import { VERSION } from "../../version.ts";
import type { Args } from "../args.ts";
import { COMMON, COMPUTE } from "../common.ts";
import {
  choice,
  flag,
  integer,
  number,
  path,
  text,
  UsageError,
  type Values,
} from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { notesTo, PLACE, readPlace, tellNotes } from "../place.ts";
import { Progress } from "../text/progress.ts";
import { WRITING, writingOf } from "../beam_options.ts";
import { print, printPart } from "../output.ts";

const CHAT = { when: { chat: true } } as const;

const OPTIONS = {
  prompt: text({
    short: "p",
    value: "TEXT",
    needed: true,
    help: "the prompt",
  }),
  chat: flag({ help: "apply the model's chat template to the prompt" }),
  system: text({
    ...CHAT,
    value: "TEXT",
    help: "system message before the prompt",
  }),
  tools: path({
    ...CHAT,
    value: "FILE",
    help: "tools that the model may call: a JSON list",
  }),
  "enable-thinking": choice(["true", "false"], {
    ...CHAT,
    otherwise: "as the template has it",
    help: "enable_thinking of the template, thinking before the answer",
  }),
  "chat-template-kwargs": text({
    ...CHAT,
    value: "JSON",
    help: "further variables of the template: a JSON object",
  }),
  "max-new-tokens": integer({
    least: 1,
    default: 128,
    help: "maximum number of generated tokens",
  }),
  temperature: number({
    least: 0,
    default: 0,
    help: "sampling temperature; 0: greedy decoding",
  }),
  "top-k": integer({
    when: { temperature: true },
    least: 1,
    otherwise: "all",
    help: "top-k sampling: only the N most probable tokens",
  }),
  "top-p": number({
    when: { temperature: true },
    least: 0,
    most: 1,
    otherwise: "1",
    help:
      "top-p (nucleus) sampling: only the most probable tokens that together have this probability",
  }),
  seed: integer({ default: 0, help: "random seed" }),
  ...WRITING,
  ...PLACE,
  compute: COMPUTE,
  ...COMMON,
};

/** `loqa generate`. */
export const verb: Verb = defineVerb({
  name: "generate",
  takes: "DIR",
  about: `
DIR is a folder that loqa wrote, a run or a checkpoint in it (DIR/runs/2), an adapter, or a model. The text goes to stdout token by token.
A causal LM continues the prompt; an encoder-decoder (BART) generates a target text from it by beam search.
`,
  examples: [
    'loqa generate smol-nf4 --prompt "Once upon a time"',
    'loqa generate smol-nf4 --chat --prompt "What is LoRA?" --temperature 0.7',
  ],
  options: OPTIONS,
  run,
});

async function run(args: Args<typeof OPTIONS>): Promise<number> {
  const { positionals: [path], values } = args;
  const { prompt: text, chat, json, compute } = values;
  const { maxNewTokens, temperature, topK, topP, seed } = values;
  using progress = new Progress({ quiet: values.quiet });
  const devices = readDeviceOptions(values, progress, { network: true });
  await using opened = await openModel(path, await readPlace(values));
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
  await modelWriting(opened, writingOf(values));
  checkKind(opened, "causal", `generate with ${path}`);
  const prompt = chat
    ? chatTokens(tokenizer, await readChat(values))
    : someTokens(promptTokens(tokenizer, text), tokenizer.bosId);
  checkPrompts([prompt], opened.config);
  const stop = await stopTokens(checkpoint, tokenizer);
  using device = await openChosen(devices);
  await using loaded = await opened.load(device, { compute, onProgress });
  const model = ofKind(loaded.model, "causal", `generate with ${path}`);
  progress[Symbol.dispose]();
  tellUnused(compute, loaded.compute, progress);
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
    ...{ maxNewTokens, temperature, topK, topP, seed },
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
  } else if (!values.quiet && Deno.stderr.isTerminal()) {
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
  { values, given }: Args<typeof OPTIONS>,
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
  const wrong = NOT_SEARCHED.find(given);
  if (wrong !== undefined) {
    throw new UsageError(
      `--${wrong} is for causal LMs, ${path} is an encoder-decoder`,
    );
  }
  const decoder = await checkpointTokenizer(checkpoint, { side: "target" });
  const options = await modelWriting(opened, writingOf(values));
  using device = await open();
  await using loaded = await opened.load(device, how);
  const model = ofKind(loaded.model, "seq2seq", `generate with ${path}`);
  progress[Symbol.dispose]();
  tellUnused(how?.compute, loaded.compute, progress);
  const began = performance.now();
  const [tokens] = await write(model, [tokenizer.encode(text)], options!);
  const seconds = (performance.now() - began) / 1000;
  const written = decoder.decode(tokens, { skipSpecialTokens: true });
  print(
    values.json
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

/** Tells where integer arithmetic was asked for and no weight takes it. */
function tellUnused(
  asked: Compute | undefined,
  used: Compute,
  progress: Progress,
): void {
  const line = computeUnused(asked, used);
  if (line !== undefined) notesTo(progress).onWarning(line);
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
async function readChat(
  { prompt, system, tools: file, ...values }: Values<typeof OPTIONS>,
): Promise<ChatRecord> {
  const { chatTemplateKwargs: given, enableThinking: thinking } = values;
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
      { role: "user", content: prompt },
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

/** A prompt has at least the token that begins a text. */
function someTokens(
  ids: Int32Array,
  bosId: number | undefined,
): Int32Array {
  if (ids.length > 0) return ids;
  if (bosId !== undefined) return Int32Array.of(bosId);
  throw new UsageError("--prompt is empty, and the model has no first token");
}
