/**
 * Rows of the benchmark for whole models: steps of training, reading a prompt, writing token by token, and the memory
 * that a training takes, all with SmolLM2-135M.
 *
 * @module
 */

import type { Compute } from "../../src/autograd/linear_weight.ts";
import { Tape } from "../../src/autograd/tape.ts";
import type { Device } from "../../src/device/device.ts";
import { readF32 } from "../../src/device/device.ts";
import { openDevice } from "../../src/backend/open.ts";
import { generate, loadCausal } from "../../src/models/load/load.ts";
import { Random } from "../../src/tensor/random.ts";
import { TRAIN_DEFAULTS } from "../../src/train/run.ts";
import { findModel } from "../../src/models/load/locate.ts";
import { findSubject } from "../../src/train/trainable.ts";
import { Trainer } from "../../src/train/step/trainer.ts";
import { bundle, findChromium, runPage } from "../browser/browser.ts";
import { findNodePackage, runNodePackage } from "../interop/environment.ts";
import { Peer } from "./peer.ts";
import type { Settings } from "./rows.ts";
import { takeRow } from "./table.ts";

const BATCH = 4;
const TIME = 128;
/** LoRA's usual rank, and the papers'. */
const RANKS = [16, 64] as const;
const PROMPT = 512;
const NEW_TOKENS = 32;
/** Steps of a training whose memory is measured. */
const STEPS = 3;

const cli = new URL("../../src/cli/main.ts", import.meta.url).pathname;

async function loqa(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", cli, ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!success) {
    throw new Error(
      `Cannot run loqa ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`,
    );
  }
  return new TextDecoder().decode(stdout);
}

/** Starts of one rank, in folders that `init` writes. */
interface Starts {
  /** QLoRA on nf4. */
  readonly nf4: string;
  /** QA-LoRA on int4, groups of 32 and of 64. */
  readonly int4: string;
  readonly wide: string;
}

/** Folders that `init` and `merge` write. */
interface Folders {
  readonly starts: Readonly<Record<typeof RANKS[number], Starts>>;
  /** QA-LoRA in groups of 32, merged; beside that, its GGUF file. */
  readonly merged: string;
}

async function prepare(model: string, folder: string): Promise<Folders> {
  const start = async (rank: number): Promise<Starts> => {
    const init = async (name: string, ...options: string[]) => {
      const out = `${folder}/${name}-${rank}`;
      await loqa("init", model, "-o", out, "--rank", `${rank}`, ...options);
      return out;
    };
    const qalora = ["--method", "qalora", "--format", "int4"];
    return {
      nf4: await init("nf4", "--method", "qlora"),
      int4: await init("int4", ...qalora, "--block", "32"),
      wide: await init("wide", ...qalora, "--block", "64"),
    };
  };
  const starts = { 16: await start(16), 64: await start(64) };
  const merged = `${folder}/merged`;
  await loqa("merge", starts[16].int4, "-o", merged);
  await loqa("export", merged, "--to", "gguf", "-o", `${merged}.gguf`);
  return { starts, merged };
}

/** Tokens that nothing was trained on. */
function someTokens(count: number): Int32Array<ArrayBuffer> {
  const random = new Random(0, "bench");
  return Int32Array.from({ length: count }, () => random.uint32() % 49152);
}

/** A step of training that can be repeated. */
async function openTraining(
  device: Device,
  path: string,
  compute: Compute,
): Promise<{ step(): Promise<number> } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const found = stack.use(
    await findSubject(await findModel(path), {
      options: { ...TRAIN_DEFAULTS, method: "adapter", compute },
    }),
  );
  const subject = stack.use(await found.load(device));
  const trainer = stack.use(
    new Trainer({
      model: subject.model,
      parameters: subject.parameters,
      learningRate: 1e-4,
      schedule: () => 1,
      optimizer: { clip: 1 },
    }),
  );
  const tokens = someTokens(BATCH * TIME);
  const batch = {
    rows: BATCH,
    cols: TIME,
    tokens,
    labels: tokens,
    lengths: new Int32Array(BATCH).fill(TIME),
  };
  const owned = stack.move();
  return {
    async step() {
      const began = performance.now();
      trainer.step([batch]);
      await trainer.read();
      return BATCH * TIME / (performance.now() - began) * 1000;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function trainingRows(
  { peer, onRow, smollm, quick }: Settings,
  device: Device,
  { starts }: Folders,
): Promise<void> {
  const rounds = quick ? 2 : 4;
  for (const rank of RANKS) {
    const { nf4, int4, wide } = starts[rank];
    const what = `a step of SmolLM2, ${BATCH} x ${TIME}, r ${rank}`;
    await using qlora = await openTraining(device, nf4, "f32");
    const theirs = (name: string, path: string) => ({
      name,
      take: async () => {
        const sizes = { batch: BATCH, time: TIME, rank };
        const answer = await peer!.ask({
          ...{ op: "train_step", path, ...sizes },
          threads: device.threads,
        });
        return BATCH * TIME / Number(answer.seconds);
      },
    });
    const others = peer
      ? [
        theirs("torch + PEFT, LoRA, f32", smollm!),
        theirs("bitsandbytes + PEFT, QLoRA", `${nf4}/backbone`),
      ]
      : [undefined];
    for (const other of others) {
      onRow(
        await takeRow({
          figure: `${what}: QLoRA, nf4`,
          unit: "tokens/s",
          ours: qlora.step,
          peer: other,
          rounds,
        }),
      );
    }
    for (
      const [name, path, compute] of [
        ["int4 b32, f32", int4, "f32"],
        ["int4 b32, --compute int8", int4, "int8"],
        ["int4 b64, --compute int8", wide, "int8"],
      ] as const
    ) {
      await using qalora = await openTraining(device, path, compute);
      onRow(
        await takeRow({
          figure: `${what}: QA-LoRA, ${name}`,
          unit: "tokens/s",
          ours: qalora.step,
          peer: { name: "ours, QLoRA, nf4", take: qlora.step },
          rounds,
        }),
      );
    }
  }
}

/** A model that reads a prompt or writes, in tokens a second. */
async function openRunning(device: Device, path: string): Promise<
  {
    prefill(): Promise<number>;
    decode(): Promise<number>;
  } & AsyncDisposable
> {
  const loaded = await loadCausal(device, path);
  const { model } = loaded;
  const ids = someTokens(PROMPT);
  return {
    async prefill() {
      const began = performance.now();
      using tape = new Tape(device);
      const hidden = model.forward(tape, { ids, batch: 1, time: PROMPT });
      const { value } = hidden;
      const last = {
        ...value,
        rows: 1,
        offset: value.offset + (PROMPT - 1) * value.stride,
      };
      const logits = tape.matrix(1, model.config.vocabSize);
      model.head.forward(device, last, { y: logits });
      await readF32(device, logits.buffer, 0, 1);
      return PROMPT / (performance.now() - began) * 1000;
    },
    async decode() {
      const began = performance.now();
      await generate(model, [ids.subarray(0, 16)], {
        maxNewTokens: NEW_TOKENS,
      });
      return NEW_TOKENS / (performance.now() - began) * 1000;
    },
    [Symbol.asyncDispose]: () => loaded[Symbol.asyncDispose](),
  };
}

async function runningRows(
  { peer, onRow, smollm, quick }: Settings,
  device: Device,
  { starts: { 16: { nf4 } }, merged }: Folders,
): Promise<void> {
  const rounds = quick ? 2 : 5;
  const { threads } = device;
  await using plain = await openRunning(device, nf4);
  await using integer = await openRunning(device, merged);
  const theirs = (op: string, rest: Record<string, unknown>) => ({
    name: op === "decode" ? "transformers + bitsandbytes" : "torch, f32",
    take: async () => {
      const answer = await peer!.ask({ op, ...rest, threads });
      return Number(answer.tokens) / Number(answer.seconds);
    },
  });
  const ask = { prompt: PROMPT, path: smollm };
  const backbone = `${nf4}/backbone`;
  const write = { count: NEW_TOKENS, path: backbone };
  for (
    const [op, name, ours, other] of [
      [
        "prefill",
        "nf4 and LoRA",
        plain.prefill,
        peer && theirs("prefill", ask),
      ],
      ["decode", "nf4 and LoRA", plain.decode, peer && theirs("decode", write)],
      ["prefill", "merged int4", integer.prefill, {
        name: "ours, nf4 and LoRA",
        take: plain.prefill,
      }],
      [
        "prefill",
        "merged int4",
        integer.prefill,
        peer && theirs("prefill", ask),
      ],
      ["decode", "merged int4", integer.decode, {
        name: "ours, nf4 and LoRA",
        take: plain.decode,
      }],
    ] as const
  ) {
    onRow(
      await takeRow({
        figure: `${
          op === "prefill" ? `reading ${PROMPT} tokens` : "writing"
        }, SmolLM2, ${name}`,
        unit: "tokens/s",
        ours,
        peer: other,
        rounds,
      }),
    );
  }
}

/** Writing beside llama.cpp, with the file that was exported from the merged model. */
async function llamaCppRow(
  { onRow, quick }: Settings,
  device: Device,
  { merged }: Folders,
): Promise<void> {
  const module = await findNodePackage("llama-cpp");
  if (!module) {
    console.error(
      "no node-llama-cpp: its row is left out; run `deno task test:interop` once",
    );
    return;
  }
  const model = `${merged}.gguf`;
  await using integer = await openRunning(device, merged);
  const out = `${merged}.json`;
  const threads = [...new Set([1, device.threads])];
  const request = { model, count: NEW_TOKENS, threads, out };
  onRow(
    await takeRow({
      figure: "writing, SmolLM2, merged int4",
      unit: "tokens/s",
      ours: integer.decode,
      peer: {
        name: "llama.cpp, its GGUF, best number of threads",
        take: async () => {
          await runNodePackage("../bench/llama_cpp.ts", module, request);
          return NEW_TOKENS / Number(await Deno.readTextFile(out));
        },
      },
      rounds: quick ? 1 : 3,
    }),
  );
}

/** The same beside llama.cpp compiled to WebAssembly, in a browser. */
async function wllamaRow(
  { onRow, quick }: Settings,
  device: Device,
  { merged }: Folders,
): Promise<void> {
  const [module, chromium] = await Promise.all([
    findNodePackage("wllama"),
    findChromium(),
  ]);
  if (!module || !chromium) {
    console.error(
      chromium
        ? "no @wllama/wllama: its row is left out; run `deno task test:interop` once"
        : "no Chromium for @wllama/wllama: its row is left out; set LOQA_CHROMIUM",
    );
    return;
  }
  const threads = [...new Set([1, device.threads])];
  const request = `${merged}.request.json`;
  await Deno.writeTextFile(
    request,
    JSON.stringify({ count: NEW_TOKENS, threads }),
  );
  const files = {
    "/wllama.js": module,
    "/wllama.wasm": module.replace(/index\.js$/, "wasm/wllama.wasm"),
    "/model.gguf": `${merged}.gguf`,
    "/request.json": request,
  };
  const script = await bundle(new URL("wllama_page.ts", import.meta.url));
  await using integer = await openRunning(device, merged);
  await integer.decode();
  let best = "";
  onRow(
    await takeRow({
      figure: "writing, SmolLM2, merged int4",
      unit: "tokens/s",
      ours: integer.decode,
      peer: {
        name:
          "llama.cpp in WebAssembly (wllama, Chromium), its GGUF, best number of threads",
        take: async () => {
          const { seconds, threads, error } = JSON.parse(
            await runPage(chromium, script, { seconds: 120, files }),
          );
          if (error) throw new Error(`Cannot measure wllama: ${error}`);
          best = threads === 1 ? "1 thread" : `${threads} threads`;
          return NEW_TOKENS / seconds;
        },
      },
      // The page has runs of its own.
      warmUps: 0,
      rounds: quick ? 1 : 2,
      note: () => `theirs with ${best}`,
    }),
  );
}

/** Peak memory of trainings, each measured in a process of its own. */
async function memoryRows(
  { peer, onRow, smollm }: Settings,
  { starts: { 16: { nf4 } } }: Folders,
): Promise<void> {
  const text = `${nf4}.txt`;
  const random = new Random(0, "bench");
  await Deno.writeTextFile(
    text,
    Array.from({ length: 20_000 }, () => (random.uint32() % 9000).toString(36))
      .join(" "),
  );
  const take = async (...options: string[]) => {
    const json = await loqa(
      ...["train", nf4, "-o", `${nf4}.trained`, "--data", text, "--json"],
      // To look for a GPU loads its driver, which may be larger than the model.
      ...["--device", "wasm"],
      ...["--steps", `${STEPS}`, "--batch", `${BATCH}`, "--block", `${TIME}`],
      ...options,
    );
    await Deno.remove(`${nf4}.trained`, { recursive: true });
    return JSON.parse(json).peakBytes / 1e6;
  };
  const theirs = async () => {
    await using own = (await Peer.start())!;
    const sizes = { batch: BATCH, time: TIME, rank: 16 };
    for (let i = 0; i < STEPS; i++) {
      await own.ask({ op: "train_step", path: smollm, ...sizes });
    }
    return Number((await own.ask({ op: "peak" })).bytes) / 1e6;
  };
  for (const options of [[], ["--checkpointing"]]) {
    onRow(
      await takeRow({
        figure: `peak memory of training SmolLM2, ${BATCH} x ${TIME}, nf4${
          options.length > 0 ? ", checkpointing" : ""
        }`,
        unit: "MB",
        ours: () => take(...options),
        ...(peer && {
          peer: { name: "torch + PEFT, LoRA, f32", take: theirs },
        }),
        warmUps: 0,
        rounds: 1,
      }),
    );
  }
}

/** Measures whole models on all threads. */
export async function wholeModelRows(settings: Settings): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "loqa-bench-" });
  try {
    const folders = await prepare(settings.smollm!, folder);
    using device = await openDevice("wasm", { threads: settings.threads });
    await trainingRows(settings, device, folders);
    await runningRows(settings, device, folders);
    await llamaCppRow(settings, device, folders);
    await wllamaRow(settings, device, folders);
    await memoryRows(settings, folders);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
