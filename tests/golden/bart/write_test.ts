import assert from "node:assert/strict";
import type { Device } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { checkpointTokenizer } from "../../../src/io/open_tokenizer.ts";
import { Bart } from "../../../src/models/seq2seq/model.ts";
import {
  write,
  type WriteOptions,
  writeOptions,
} from "../../../src/models/generate/seq2seq.ts";
import { golden } from "../../helpers/golden.ts";
import { sharedData } from "../../helpers/inputs.ts";
import { networkTest } from "../../helpers/network.ts";
import { type GoldenBart, loadBart, models, type Run } from "./data.ts";

async function checkWriting(device: Device, row: GoldenBart) {
  using model = await loadBart(device, row);
  const { sources, runs, byFile } = row.generate;
  for (const { settings, written } of runs) {
    const options = { ...writeOptions(row), ...settings };
    const found = await write(model, sources, options);
    assert.deepEqual(found, written, JSON.stringify(settings));
  }
  for (const { file, written } of byFile) {
    const options = writeOptions(row, file ?? undefined);
    const found = await write(model, sources, options);
    assert.deepEqual(found, written, JSON.stringify(file));
  }
}

networkTest(
  (device) => `bart: transformers' generate on ${device}`,
  async (device, t) => {
    for (const row of models) {
      await t.step(row.name, () => checkWriting(device, row));
    }
  },
  { gpu: false },
);

const data = sharedData();
const G2P = `${data}/models/g2p-bart`;

/** Pronunciations that a trained model generates for words, some at a time. */
async function sounds(
  which: string,
  words: readonly string[],
  settings: Partial<WriteOptions>,
): Promise<{ ids: number[][]; texts: string[] }> {
  await using checkpoint = await openCheckpoint(`${G2P}/${which}`);
  using device = await openDevice("wasm");
  using model = await Bart.load(device, checkpoint);
  const [source, target] = await Promise.all(
    (["source", "target"] as const).map((side) =>
      checkpointTokenizer(checkpoint, { side })
    ),
  );
  const options = { ...writeOptions(checkpoint), ...settings };
  const ids: number[][] = [];
  for (let i = 0; i < words.length; i += 20) {
    const some = words.slice(i, i + 20).map((word) => source.encode(word));
    ids.push(...await write(model, some, options));
  }
  const texts = ids.map((row) =>
    target.decode(row, { skipSpecialTokens: true })
  );
  return { ids, texts };
}

Deno.test({
  name: "the trained US model's 25 words",
  ignore: data === null,
  async fn() {
    const lines = (await Deno.readTextFile(`${G2P}/bart-reference.tsv`))
      .trim().split("\n").map((line) => line.split("\t"));
    assert.equal(lines.length, 25);
    const { texts } = await sounds("us", lines.map(([word]) => word), {
      maxLength: 50,
    });
    assert.deepEqual(texts, lines.map(([, sound]) => sound));
  },
});

const dictionaries = golden<
  Record<"us" | "gb", { words: string[]; runs: Run[] }>
>(import.meta, "words.json");

for (const [which, count, many] of [["us", 100, 5], ["gb", 40, 2]] as const) {
  Deno.test({
    name: `the trained ${which} model: words of its dictionary`,
    ignore: data === null,
    async fn(t) {
      const { words, runs } = dictionaries[which];
      assert.deepEqual([words.length, runs.length], [count, many]);
      for (const { settings, written } of runs) {
        await t.step(JSON.stringify(settings), async () => {
          assert.deepEqual((await sounds(which, words, settings)).ids, written);
        });
      }
    },
  });
}
