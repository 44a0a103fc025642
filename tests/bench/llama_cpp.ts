/**
 * `llama_cpp.ts MODULE REQUEST`: writes tokens with llama.cpp, by the node-llama-cpp whose main file is MODULE.
 *
 * REQUEST is the JSON `{model, count, threads, out}`; the seconds of the fastest of three runs, the prompt of sixteen tokens
 * included, are written to `out`. A process of its own, as llama.cpp does not leave when it is told to.
 *
 * @module
 */

interface Sequence {
  evaluate(
    tokens: readonly number[],
    options: { temperature: number },
  ): AsyncIterable<number>;
  clearHistory(): Promise<void>;
}

interface LlamaCpp {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(
        options: Record<string, number>,
      ): Promise<{ getSequence(): Sequence }>;
    }>;
  }>;
}

const [module, request] = Deno.args;
const { model: modelPath, count, threads, out } = JSON.parse(request);
const { getLlama }: LlamaCpp = await import(`file://${module}`);
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: "error",
  maxThreads: threads,
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 256, threads });
const sequence = context.getSequence();
const prompt = Array.from({ length: 16 }, (_, i) => 100 + i);
let best = Infinity;
for (let run = 0; run < 3; run++) {
  await sequence.clearHistory();
  const began = performance.now();
  let left = count;
  for await (const _ of sequence.evaluate(prompt, { temperature: 0 })) {
    if (--left === 0) break;
  }
  best = Math.min(best, (performance.now() - began) / 1000);
}
await Deno.writeTextFile(out, JSON.stringify(best));
Deno.exit(0);
