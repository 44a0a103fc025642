/**
 * A page in which llama.cpp compiled to WebAssembly writes tokens, by the `@wllama/wllama` that is served beside it.
 *
 * `/request.json` says `{count, threads}`; what is sent to `/outcome` is the JSON `{seconds, threads}`: the fastest run, of
 * two with each of the numbers of threads, the prompt of sixteen tokens included, and its number of threads; or `{error}`.
 *
 * @module
 */

/** Tokens of the prompt. */
const PROMPT = 16;

interface Wllama {
  setCompat(compat: null): void;
  loadModel(
    files: readonly Blob[],
    options: Record<string, number | boolean>,
  ): Promise<void>;
  createCompletion(options: Record<string, unknown>): Promise<{
    usage: { prompt_tokens: number; completion_tokens: number };
  }>;
  getNumThreads(): number;
  exit(): Promise<void>;
}

async function measure(): Promise<{ seconds: number; threads: number }> {
  const path = "/wllama.js";
  const { Wllama, LoggerWithoutDebug: logger }: {
    Wllama: new (paths: unknown, options: unknown) => Wllama;
    LoggerWithoutDebug: unknown;
  } = await import(path);
  const { count, threads }: { count: number; threads: number[] } =
    await (await fetch("/request.json")).json();
  const model = await (await fetch("/model.gguf")).blob();
  // It takes no tokens; each of these words is one.
  const prompt = " the".repeat(PROMPT);
  let best = { seconds: Infinity, threads: 0 };
  for (const number of threads) {
    const wllama = new Wllama({ default: "/wllama.wasm" }, { logger });
    // Else it may look for its worker elsewhere.
    wllama.setCompat(null);
    await wllama.loadModel([model], {
      ...{ n_ctx: 256, n_threads: number, n_gpu_layers: 0, n_parallel: 1 },
      warmup: false,
    });
    for (let run = 0; run < 2; run++) {
      await fetch("/doing", { method: "POST", body: `${number} threads` });
      const began = performance.now();
      const { usage } = await wllama.createCompletion({
        ...{ prompt, max_tokens: count, ignore_eos: true },
        ...{ temperature: 0, top_k: 1, cache_prompt: false },
      });
      const seconds = (performance.now() - began) / 1000;
      const { prompt_tokens: read, completion_tokens: wrote } = usage;
      if (read !== PROMPT || wrote !== count) {
        throw new Error(`read ${read} and wrote ${wrote} tokens`);
      }
      if (seconds < best.seconds) {
        best = { seconds, threads: wllama.getNumThreads() };
      }
    }
    await wllama.exit();
  }
  return best;
}

const outcome = await measure().catch((error) => ({ error: String(error) }));
await fetch("/outcome", { method: "POST", body: JSON.stringify(outcome) });
