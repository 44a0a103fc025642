import assert from "node:assert/strict";
import { openCheckpoint } from "../../../../src/io/open.ts";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import {
  ggufHeader,
  ggufPair,
  GgufWriter,
} from "../../../../src/io/gguf/write.ts";
import { bytesSource, memorySink } from "../../../../src/io/files/sources.ts";
import { partNames, partOf } from "../../../../src/io/files/split.ts";
import { smallConfig, smallWeights } from "../../../helpers/llama.ts";
import { safetensorsBytes } from "../../../helpers/model.ts";
import { goldenBytes, inFolder, rejects } from "../helpers.ts";

/** A u16 pair, as gguf-split writes `split.no` and `split.count`. */
function shortPair(key: string, value: number): Uint8Array<ArrayBuffer> {
  const pair = ggufPair(key, "u32", value);
  const out = pair.slice(0, pair.length - 2);
  new DataView(out.buffer).setUint32(out.length - 6, 2, true);
  return out;
}

/** The golden file cut as gguf-split does it: metadata in the first part, whole tensors in each. */
async function cut(of: number, changes = { count: of }): Promise<
  Uint8Array<ArrayBuffer>[]
> {
  const file = await openGguf(
    bytesSource(await goldenBytes("llama.gguf"), "llama.gguf"),
  );
  const tensors = [...file.tensors.values()];
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let i = 0; i < of; i++) {
    const own = tensors.slice(
      Math.floor(i * tensors.length / of),
      Math.floor((i + 1) * tensors.length / of),
    );
    const pairs: Uint8Array[] = [];
    if (i === 0) {
      for (const key of file.metadata.keys()) {
        pairs.push(await file.readPair(key));
      }
    }
    pairs.push(
      shortPair("split.no", i),
      shortPair("split.count", changes.count),
      ggufPair("split.tensors.count", "i32", tensors.length),
    );
    const layout = ggufHeader(
      pairs,
      own.map(({ name, type, shape }) => ({ name, type: type.name, shape })),
      Number(file.metadata.get("general.alignment") ?? 32),
    );
    const sink = memorySink("part");
    const writer = await GgufWriter.open(sink, layout);
    for (const t of own) {
      const rows = t.shape[0] ?? 1;
      await writer.write(t.name, await file.readRows(t, 0, rows));
    }
    await writer.close();
    parts.push(sink.bytes());
  }
  return parts;
}

const NAMES = partNames("m-00001-of-00003.gguf");

Deno.test("partOf() reads the names that programs give to parts, and no others", () => {
  assert.deepEqual(NAMES, [
    "m-00001-of-00003.gguf",
    "m-00002-of-00003.gguf",
    "m-00003-of-00003.gguf",
  ]);
  const { number, of } = partOf("model-00012-of-00191.safetensors")!;
  assert.deepEqual([number, of], [12, 191]);
  for (
    const name of [
      "model.safetensors",
      "m-00001-of-00001.gguf",
      "m-00004-of-00003.gguf",
      "m-1-of-3.gguf",
    ]
  ) {
    assert.equal(partOf(name), undefined);
    assert.deepEqual(partNames(name), [name]);
  }
});

Deno.test("a split GGUF model is one model, whichever part or the folder is named", () =>
  inFolder(async (folder) => {
    await Deno.writeFile(
      `${folder}/whole.gguf`,
      await goldenBytes("llama.gguf"),
    );
    await using whole = await openCheckpoint(`${folder}/whole.gguf`);
    await Deno.mkdir(`${folder}/parts`);
    for (const [i, bytes] of (await cut(3)).entries()) {
      await Deno.writeFile(`${folder}/parts/${NAMES[i]}`, bytes);
    }
    for (const path of ["parts", ...NAMES.map((name) => `parts/${name}`)]) {
      await using model = await openCheckpoint(`${folder}/${path}`);
      assert.equal(model.notes, undefined);
      assert.deepEqual(model.config, whole.config);
      assert.deepEqual([...model.tensors], [...whole.tensors]);
      for (const name of whole.tensors.keys()) {
        assert.deepEqual(await model.readF32(name), await whole.readF32(name));
      }
    }
  }));

Deno.test("a part of a GGUF model by itself is refused, and described as a part", () =>
  inFolder(async (folder) => {
    const parts = await cut(3);
    for (const [i, bytes] of parts.slice(0, 2).entries()) {
      const path = `${folder}/${NAMES[i]}`;
      await Deno.writeFile(path, bytes);
      const said = `it is part ${i + 1} of 3 of a split model, and "`;
      for (const options of [{}, { describe: "whole" as const }]) {
        await rejects(
          () => openCheckpoint(path, options),
          TypeError,
          path,
          said,
        );
      }
      await using model = await openCheckpoint(path, { describe: true });
      assert.ok(model.notes![0].includes(said), model.notes![0]);
      assert.ok(model.tensors.size > 0);
      assert.equal(model.config.num_hidden_layers, i === 0 ? 2 : undefined);
      await Deno.remove(path);
    }
    for (const i of [0, 1]) {
      await Deno.writeFile(`${folder}/${NAMES[i]}`, parts[i]);
    }
    await rejects(
      () => openCheckpoint(folder),
      TypeError,
      `it is parts 1, 2 of 3 of a split model, and "${NAMES[2]}" is not there`,
    );
    // Under another name the metadata tell it.
    for (const [i, bytes] of parts.entries()) {
      const path = `${folder}/part${i}.gguf`;
      await Deno.writeFile(path, bytes);
      await rejects(
        () => openCheckpoint(path),
        TypeError,
        `it is part ${i + 1} of 3`,
        "NAME-00001-of-00003.gguf",
      );
    }
  }));

Deno.test("GGUF parts that are not those of one model are refused", () =>
  inFolder(async (folder) => {
    const parts = await cut(3);
    const write = async (list: readonly Uint8Array[]) => {
      for (const [i, bytes] of list.entries()) {
        await Deno.writeFile(`${folder}/${NAMES[i]}`, bytes);
      }
    };
    await write([parts[0], parts[1], parts[1]]);
    await rejects(
      () => openCheckpoint(folder),
      SyntaxError,
      "says it is part 2 of 3, wanted part 3 of 3",
      "is in more than one part",
    );
    await write(await cut(3, { count: 4 }));
    await rejects(() => openCheckpoint(folder), SyntaxError, "part 1 of 4");
  }));

Deno.test("safetensors parts: all are the model, with an index or without, one is refused", () =>
  inFolder(async (folder) => {
    const config = smallConfig();
    const tensors = Object.entries(smallWeights(config));
    const names = partNames("model-00001-of-00002.safetensors");
    const half = tensors.length >> 1;
    const lists = [tensors.slice(0, half), tensors.slice(half)];
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
    const put = async (i: number) =>
      await Deno.writeFile(
        `${folder}/${names[i]}`,
        await safetensorsBytes(Object.fromEntries(lists[i])),
      );
    for (const i of [0, 1]) {
      await put(i);
      for (const path of [folder, `${folder}/${names[i]}`]) {
        await rejects(
          () => openCheckpoint(path),
          TypeError,
          `it is part ${i + 1} of 2 of a split model, and "${names[1 - i]}"`,
        );
        await using part = await openCheckpoint(path, { describe: true });
        assert.equal(part.tensors.size, lists[i].length);
        assert.match(part.notes![0], /part \d of 2/);
      }
      await Deno.remove(`${folder}/${names[i]}`);
    }
    await put(0);
    await put(1);
    for (const path of [folder, ...names.map((name) => `${folder}/${name}`)]) {
      await using model = await openCheckpoint(path);
      assert.equal(model.tensors.size, tensors.length);
    }
    lists[1].push(lists[0][0]);
    await put(1);
    await rejects(
      () => openCheckpoint(folder),
      SyntaxError,
      lists[0][0][0],
      "and in another part",
    );
  }));
