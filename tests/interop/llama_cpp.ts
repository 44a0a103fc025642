/**
 * `llama_cpp.ts MODULE REQUEST`: runs GGUF files through llama.cpp, by the node-llama-cpp whose main file is MODULE.
 *
 * REQUEST is the JSON `{out, models, ids, texts, blocks}`. What is written to `out`: for each model the probabilities of
 * every token behind each of `ids`; the tokens that the first one cuts `texts` into; and for each model the perplexity of
 * `blocks` of tokens, each on its own. A process of its own, as llama.cpp does not leave when it is told to.
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
    dispose(): Promise<void>;
  }>;
}

interface LlamaCpp {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  }>;
}

const [module, request] = Deno.args;
const { out, models, ids = [], texts = [], blocks = [] } = JSON.parse(
  request,
) as {
  out: string;
  models: string[];
  ids?: number[];
  texts?: string[];
  blocks?: number[][];
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
const perplexities: Record<string, number> = {};
let tokens: [string, number[]][] = [];
for (const path of models) {
  const model = await llama.loadModel({ modelPath: path });
  if (tokens.length === 0) {
    tokens = texts.map((text) => [text, model.tokenize(text)]);
  }
  const behind = async (tokens: readonly number[]) => {
    const context = await model.createContext({
      contextSize: Math.max(128, tokens.length + 1),
      threads: 1,
    });
    const rows = await context.getSequence().controlledEvaluate(
      tokens.map((id) => [id, { generateNext }]),
    );
    await context.dispose();
    return rows.map(({ next }) => next.probabilities);
  };
  probabilities[path] = (await behind(ids)).map((next) => {
    const row: number[] = [];
    for (const [id, p] of next) row[id] = p;
    return row;
  });
  let [sum, count] = [0, 0];
  for (const block of blocks) {
    for (const [t, next] of (await behind(block.slice(0, -1))).entries()) {
      sum -= Math.log(next.get(block[t + 1])!);
      count++;
    }
  }
  perplexities[path] = Math.exp(sum / count);
}
await Deno.writeTextFile(
  out,
  JSON.stringify({ ids, tokens, probabilities, perplexities }),
);
Deno.exit(0);
