/**
 * `loqa generate`.
 *
 * @module
 */

import { checkpointTokenizer, type Tokenizer } from "../io/tokenizer.ts";
import { ofKind } from "../models/families.ts";
import { generate } from "../models/generate.ts";
import { type LoadedModel, loadModel } from "../models/load.ts";
import { write } from "../models/write.ts";
import { VERSION } from "../version.ts";
import {
  COMMON,
  COMPUTE,
  COMPUTES,
  optionHelp,
  type Options,
  parse,
  type Parsed,
  textsByName,
  UsageError,
} from "./args.ts";
import { openChosen, readDeviceOptions } from "./device.ts";
import { Progress } from "./progress.ts";
import { readWriting, refuseWriting, WRITING } from "./writing.ts";

const OPTIONS: Options = {
  prompt: { short: "p", value: "TEXT", help: "what to go on from; needed" },
  chat: { help: "put the prompt through the model's chat template" },
  system: { value: "TEXT", help: "what the system says before it (--chat)" },
  "max-new-tokens": { value: "N", default: "128", help: "tokens to add" },
  temperature: {
    value: "X",
    default: "0",
    help: "0 takes the likeliest token",
  },
  "top-k": { value: "N", default: "all", help: "only the N likeliest tokens" },
  "top-p": {
    value: "X",
    default: "1",
    help: "only the likeliest with this probability together",
  },
  seed: { value: "N", default: "0", help: "seed of what is random" },
  ...WRITING,
  adapter: {
    value: "NAME=DIR",
    multiple: true,
    help: "another adapter to put on the model",
  },
  compute: COMPUTE,
  "no-adapter": { help: "leave out the adapter that belongs to the model" },
  ...COMMON,
};

/** The page of `loqa generate --help`. */
export const help = `loqa generate DIR --prompt TEXT: let a model write

DIR is a folder that loqa wrote, or a model. The text goes to stdout as it comes.

  loqa generate smol-nf4 --prompt "Once upon a time"
  loqa generate smol-nf4 --chat --prompt "What is LoRA?" --temperature 0.7

Options:
${optionHelp(OPTIONS)}
`;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<number> {
  const args = parse(argv, OPTIONS);
  const [path, ...more] = args.positionals;
  if (path === undefined || more.length > 0) {
    throw new UsageError(
      `generate takes one DIR, got ${args.positionals.length || "none"}`,
    );
  }
  const text = args.text("prompt");
  if (text === undefined) throw new UsageError("generate needs --prompt TEXT");
  if (args.text("system") !== undefined && !args.on("chat")) {
    throw new UsageError("--system needs --chat");
  }
  const sampling = {
    maxNewTokens: args.number("max-new-tokens", { least: 1 }) ?? 128,
    temperature: args.number("temperature", { least: 0, fraction: true }),
    topK: args.number("top-k", { least: 1 }),
    topP: args.number("top-p", { least: 0, most: 1, fraction: true }),
    seed: args.number("seed"),
  };
  using progress = new Progress({ quiet: args.on("quiet") });
  using device = await openChosen(
    readDeviceOptions(args, progress, { network: true }),
  );
  await using loaded = await loadModel(device, path, {
    adapters: textsByName(args, "adapter"),
    own: !args.on("no-adapter"),
    compute: args.choice("compute", COMPUTES),
    onProgress: (done) => progress.update(done, "loading the model"),
  });
  const tokenizer = await checkpointTokenizer(loaded.checkpoint);
  if (loaded.model.kind === "seq2seq") {
    return await writeText(args, { loaded, tokenizer, path, text, progress });
  }
  refuseWriting(args, path);
  const model = ofKind(loaded.model, "causal", `write with ${path}`);
  const system = args.text("system");
  const prompt = args.on("chat")
    ? tokenizer.encode(
      tokenizer.applyChatTemplate([
        ...(system === undefined ? [] : [{ role: "system", content: system }]),
        { role: "user", content: text },
      ], { addGenerationPrompt: true }),
      { addSpecialTokens: false },
    )
    : promptTokens(tokenizer.encode(text), tokenizer.bosId);
  progress[Symbol.dispose]();
  const json = args.on("json");
  const stream = tokenizer.stream({ skipSpecialTokens: true });
  const out = new TextEncoder();
  const show = (part: string) => {
    if (!json) Deno.stdout.writeSync(out.encode(part));
  };
  const began = performance.now();
  if (!args.on("chat")) show(text);
  const [tokens] = await generate(model, [prompt], {
    ...sampling,
    stop: tokenizer.eosId === undefined ? [] : [tokenizer.eosId],
    onToken: (_, token) => show(stream.push(token)),
  });
  show(`${stream.end()}\n`);
  const seconds = (performance.now() - began) / 1000;
  if (json) {
    console.log(JSON.stringify(
      {
        verb: "generate",
        version: VERSION,
        model: path,
        prompt: text,
        text: tokenizer.decode(tokens, { skipSpecialTokens: true }),
        tokens,
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

/** What a model that reads one text and writes another makes of the prompt. */
async function writeText(
  args: Parsed,
  { loaded, tokenizer, path, text, progress }: {
    loaded: LoadedModel;
    tokenizer: Tokenizer;
    path: string;
    text: string;
    progress: Progress;
  },
): Promise<number> {
  const { checkpoint } = loaded;
  if (args.on("chat")) {
    throw new UsageError(`--chat is for models that go on, ${path} is none`);
  }
  const model = ofKind(loaded.model, "seq2seq", `write with ${path}`);
  const decoder = await checkpointTokenizer(checkpoint, { side: "target" });
  const options = await readWriting(args, checkpoint);
  progress[Symbol.dispose]();
  const began = performance.now();
  const [tokens] = await write(model, [tokenizer.encode(text)], options);
  const seconds = (performance.now() - began) / 1000;
  const written = decoder.decode(tokens, { skipSpecialTokens: true });
  console.log(
    args.on("json")
      ? JSON.stringify(
        {
          ...{ verb: "generate", version: VERSION, model: path, prompt: text },
          ...{ text: written, tokens, seconds },
          tokensPerSecond: tokens.length / seconds,
        },
        null,
        2,
      )
      : written,
  );
  return 0;
}

/** A prompt has at least the token that begins a text. */
function promptTokens(
  ids: Int32Array,
  bosId: number | undefined,
): Int32Array {
  if (ids.length > 0) return ids;
  if (bosId !== undefined) return Int32Array.of(bosId);
  throw new UsageError("--prompt is empty, and the model has no first token");
}
