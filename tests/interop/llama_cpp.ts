/**
 * `llama_cpp.ts MODULE REQUEST`: runs GGUF files through llama.cpp, by the node-llama-cpp whose main file is MODULE.
 *
 * REQUEST is the JSON `{out, models, ids, texts}`. What is written to `out`: for each model the probabilities of every
 * token behind each of `ids`, and the tokens that the first one cuts `texts` into. A process of its own, as llama.cpp
 * does not leave when it is told to.
 *
 * @module
 */

interface Evaluated {
  readonly next: { readonly probabilities: ReadonlyMap<number, number> };
}

interface LlamaModel {
  tokenize(text: string): number[];
  createContext(options: Record<string, number>): Promise<{
    getSequence(): {
      controlledEvaluate(input: unknown[]): Promise<Evaluated[]>;
    };
  }>;
}

interface LlamaCpp {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  }>;
}

const [module, request] = Deno.args;
const { out, models, ids, texts } = JSON.parse(request) as {
  out: string;
  models: string[];
  ids: number[];
  texts: string[];
};
const { getLlama }: LlamaCpp = await import(`file://${module}`);
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: "error",
  maxThreads: 1,
});
const generateNext = {
  probabilities: true,
  // Without these llama.cpp cuts the unlikely tokens off.
  options: { temperature: 1, topK: 0, topP: 1, minP: 0 },
};
const probabilities: Record<string, number[][]> = {};
let tokens: [string, number[]][] = [];
for (const path of models) {
  const model = await llama.loadModel({ modelPath: path });
  if (tokens.length === 0) {
    tokens = texts.map((text) => [text, model.tokenize(text)]);
  }
  const context = await model.createContext({ contextSize: 128, threads: 1 });
  const rows = await context.getSequence().controlledEvaluate(
    ids.map((id) => [id, { generateNext }]),
  );
  probabilities[path] = rows.map(({ next }) => {
    const row: number[] = [];
    for (const [id, p] of next.probabilities) row[id] = p;
    return row;
  });
}
await Deno.writeTextFile(out, JSON.stringify({ ids, tokens, probabilities }));
Deno.exit(0);
