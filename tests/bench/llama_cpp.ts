/**
 * `llama_cpp.ts MODULE REQUEST`: writes tokens with llama.cpp, by the node-llama-cpp whose main file is MODULE.
 *
 * REQUEST is the JSON `{model, count, threads, out}`; the seconds of the fastest run, of three with each of the numbers of
 * threads, the prompt of sixteen tokens included, are written to `out`. A process of its own, as llama.cpp does not leave when it is told to.
 *
 * @module
 */

interface Sequence {
  evaluate(
    tokens: readonly number[],
    options: { temperature: number },
  ): AsyncIterable<number>;
}

interface LlamaCpp {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(
        options: Record<string, number>,
      ): Promise<{ getSequence(): Sequence; dispose(): Promise<void> }>;
    }>;
  }>;
}

const [module, request] = Deno.args;
const { model: modelPath, count, threads, out } = JSON.parse(request) as {
  model: string;
  count: number;
  threads: number[];
  out: string;
};
const { getLlama }: LlamaCpp = await import(`file://${module}`);
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: "error",
  maxThreads: Math.max(...threads),
});
const model = await llama.loadModel({ modelPath });
const prompt = Array.from({ length: 16 }, (_, i) => 100 + i);
let best = Infinity;
for (let run = 0; run < 3 * threads.length; run++) {
  const context = await model.createContext({
    contextSize: 256,
    threads: threads[run % threads.length],
  });
  const sequence = context.getSequence();
  const began = performance.now();
  let left = count;
  for await (const _ of sequence.evaluate(prompt, { temperature: 0 })) {
    if (--left === 0) break;
  }
  best = Math.min(best, (performance.now() - began) / 1000);
  await context.dispose();
}
await Deno.writeTextFile(out, JSON.stringify(best));
Deno.exit(0);
