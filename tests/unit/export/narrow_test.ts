import { exportModel } from "../../../src/export/run.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { init } from "../../../src/init/run.ts";
import { mergeDense } from "../../../src/merge/dense.ts";
import { smallConfig, smallWeights } from "../../helpers/llama.ts";
import { inFolder, writeModel } from "../../helpers/model.ts";
import { rejects } from "../io/helpers.ts";
import { OWN } from "./helpers.ts";

/** A model with one value beyond f16 in the tensor `name`. */
async function writeFar(folder: string, name: string): Promise<void> {
  const config = smallConfig({
    architectures: ["LlamaForCausalLM"],
    vocab_size: 768,
    rms_norm_eps: 1e-5,
    bos_token_id: 0,
    eos_token_id: 0,
  });
  const tensors = smallWeights(config);
  tensors[name].values![3] = -133333;
  await writeModel(folder, { config, tensors });
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${OWN}/${file}`, `${folder}/${file}`);
  }
}

const NAMES = [
  "model.embed_tokens.weight",
  "model.layers.1.self_attn.q_proj.weight",
  "model.norm.weight",
];

/** True if an exporter writes the tensor in f32 whatever the others are. */
const WIDE = (to: string, name: string) =>
  to !== "init" && to !== "merge" && name.includes("norm");

for (const name of NAMES) {
  for (const to of ["init", "merge", "gguf", "onnx"]) {
    if (WIDE(to, name)) continue;
    Deno.test(`${to}: a value beyond f16 in ${name} is refused, not written as infinity`, () =>
      inFolder(async (folder) => {
        const model = `${folder}/model`;
        const out = `${folder}/out`;
        await writeFar(model, name);
        using device = await openDevice("wasm", { threads: 1 });
        await using checkpoint = await openCheckpoint(model);
        const write = (dtype: "f16" | "f32"): Promise<unknown> =>
          to === "init"
            ? init(checkpoint, {
              method: "loftq",
              rank: 2,
              alpha: 2,
              iterations: 1,
              seed: 0,
              format: "nf4",
              backbone: "dense",
              targets: ["o_proj", "q_proj"],
              dtype,
            }, { out, device })
            : to === "merge"
            ? mergeDense(checkpoint, { device, out, factors: [], dtype })
            : exportModel(model, { to, out, dtype });
        await rejects(
          () => write("f16"),
          RangeError,
          `Cannot write "${name}" as f16: it holds -133`,
          "--dtype f32",
        );
        await write("f32");
      }));
  }
}
