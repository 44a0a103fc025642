import assert from "node:assert/strict";
import { models, writeBart } from "../../golden/bart/data.ts";
import { loqa } from "../../helpers/cli.ts";
import { writeEncoder } from "../../helpers/encoders.ts";
import { inFolder } from "../../helpers/model.ts";

async function verb(...args: string[]) {
  const { code, stdout, stderr } = await loqa(
    ...[...args, "--device", "wasm", "--json", "--quiet"],
  );
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Report of `merge` on the forward passes of a model at 2 bits with its start, in f32 and in bf16. */
async function compared(folder: string) {
  await verb(
    ...["init", `${folder}/model`, "-o", `${folder}/out`],
    ...["--format", "nf2", "--rank", "2"],
  );
  const merge = async (dtype: string) =>
    (await verb(
      ...["merge", `${folder}/out`, "-o", `${folder}/${dtype}`],
      ...["--dtype", dtype],
    )).forward;
  return { f32: await merge("f32"), bf16: await merge("bf16") };
}

const KINDS = {
  "an encoder without a head": (folder: string) => writeEncoder(folder, "bert"),
  "an encoder-decoder": (folder: string) => writeBart(folder, models[0]),
};

for (const [kind, make] of Object.entries(KINDS)) {
  Deno.test(`merge compares the forwards of ${kind} over random tokens`, () =>
    inFolder(async (folder) => {
      await make(`${folder}/model`);
      const { f32, bf16 } = await compared(folder);
      assert.equal(f32.of, "random");
      assert.ok(f32.tokens > 8, `${f32.tokens}`);
      assert.ok(f32.relative < 1e-4, `${f32.relative}`);
      assert.equal(f32.agreement, 1);
      assert.ok(bf16.relative > 10 * f32.relative, `${bf16.relative}`);
      assert.ok(bf16.relative < 0.1, `${bf16.relative}`);
    }));
}
