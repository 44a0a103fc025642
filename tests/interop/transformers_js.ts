/**
 * `transformers_js.ts MODULE REQUEST`: lets transformers.js, whose main file is MODULE, write on.
 *
 * REQUEST is the JSON `{out, folder, ids, count}`: a model folder with an ONNX model in 4 bits, the tokens to go on
 * from, and how many to write greedily. All tokens are written to `out`.
 *
 * @module
 */

// deno-lint-ignore-file camelcase -- the names are those of transformers.js
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoModelForCausalLM: {
    from_pretrained(name: string, options: unknown): Promise<{
      generate(options: unknown): Promise<{ tolist(): bigint[][] }>;
    }>;
  };
  readonly Tensor: new (
    type: string,
    values: BigInt64Array,
    dims: number[],
  ) => unknown;
}

const [module, request] = Deno.args;
const { out, folder, ids, count } = JSON.parse(request) as {
  out: string;
  folder: string;
  ids: number[];
  count: number;
};
const { AutoModelForCausalLM, Tensor, env }: Transformers = await import(
  `file://${module}`
);
const cut = folder.lastIndexOf("/") + 1;
env.allowRemoteModels = false;
env.localModelPath = folder.slice(0, cut);
const model = await AutoModelForCausalLM.from_pretrained(folder.slice(cut), {
  dtype: "q4",
  device: "cpu",
});
const row = (values: bigint[]) =>
  new Tensor("int64", BigInt64Array.from(values), [1, values.length]);
const made = await model.generate({
  input_ids: row(ids.map(BigInt)),
  attention_mask: row(ids.map(() => 1n)),
  max_new_tokens: count,
  do_sample: false,
  // No token ends the text, so that all of them can be compared.
  eos_token_id: -1,
});
await Deno.writeTextFile(
  out,
  JSON.stringify({ ids, tokens: made.tolist()[0].map(Number) }),
);
Deno.exit(0);
