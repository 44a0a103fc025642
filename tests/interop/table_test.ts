import { openDevice } from "../../src/backend/open.ts";
import { answerClasses } from "../../src/eval/answer.ts";
import { ofKind } from "../../src/models/families.ts";
import { loadModel, type LoadOptions } from "../../src/models/load/load.ts";
import { assertAllClose } from "../helpers/assert.ts";
import { sentences, writeEncoder } from "../helpers/encoders.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();

/** Rows of one length: [CLS], words, [SEP]. */
const IDS = [[2, 8, 13, 5, 17, 3], [2, 20, 9, 11, 6, 3], [2, 4, 4, 14, 15, 3]];

async function logitsOf(
  path: string,
  options: LoadOptions = {},
): Promise<Float32Array<ArrayBuffer>> {
  using device = await openDevice("wasm", { threads: 1 });
  await using loaded = await loadModel(device, path, options);
  const model = ofKind(loaded.model, "encoder", `run ${path}`);
  const rows = await answerClasses(
    model,
    IDS.map((row) => ({ tokens: Int32Array.from(row) })),
  );
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

for (const type of ["bert", "deberta-v2"] as const) {
  const theirs = `${folder}/${type}-theirs`;
  const out = `${folder}/${type}`;
  await peerTests(
    { label: `factors of a table and biases, ${type}` },
    "table.py",
    async () => {
      await writeEncoder(`${folder}/${type}-model`, type);
      const data = `${folder}/${type}.tsv`;
      await Deno.writeTextFile(data, sentences(200, 0));
      await loqaJson(
        ...["init", `${folder}/${type}-model`, "-o", out, "--format", "nf2"],
        ...["--rank", "3", "--quant-embedding", "--backbone", "dense"],
      );
      await loqaJson(
        ...["train", out, "--task", "classify", "--data-set", "sst2"],
        ...["--data", data, "--steps", "20", "--batch", "8", "--block", "16"],
        ...["--lr", "0.01", "--train-biases", "all"],
      );
      const [ids, logits] = [`${out}/ids.json`, `${out}/logits.bin`];
      await Deno.writeTextFile(ids, JSON.stringify(IDS));
      await Deno.writeFile(
        logits,
        new Uint8Array((await logitsOf(out)).buffer),
      );
      return [out, ids, logits, theirs];
    },
  );

  Deno.test(`factors of a table and biases, ${type}: what PEFT made, we load`, async () => {
    const { buffer } = await Deno.readFile(`${theirs}/logits.bin`);
    const found = await logitsOf(`${out}/backbone`, {
      adapters: { theirs },
    });
    assertAllClose(found, new Float32Array(buffer), { atol: 1e-4 });
  });
}
