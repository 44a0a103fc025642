import assert from "node:assert/strict";
import { type LanguageModel, openLm } from "../../../src/lm/lm.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { loadCausal } from "../../../src/models/load/load.ts";
import { generate } from "../../../src/models/generate/causal.ts";
import { checkpointTokenizer } from "../../../src/io/open_tokenizer.ts";
import { inFolder } from "../../helpers/model.ts";
import { writeTrainable } from "../../faults/train_work.ts";

const RECORDS = Array.from({ length: 6 }, (_, i) => ({
  prompt: `Who sang ${i % 2 === 0 ? "first" : "last"}?`,
  completion: i % 2 === 0 ? " Anouk sang." : " Nobody sang.",
}));
const ON = { device: "wasm", threads: 1 } as const;
const TRAIN = { steps: 60, batch: 6, learningRate: 2e-2, rank: 4 } as const;

async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  return (await Array.fromAsync(pieces)).join("");
}

async function filesOf(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for await (const { name } of Deno.readDir(folder)) {
    files.set(name, await Deno.readFile(`${folder}/${name}`));
  }
  return files;
}

Deno.test("openLm() generates what the model does, from a path and from its files", () =>
  inFolder(async (folder) => {
    await writeTrainable(folder);
    using device = await openDevice("wasm", { network: true });
    await using loaded = await loadCausal(device, folder);
    const tokenizer = await checkpointTokenizer(loaded.checkpoint);
    const prompt = tokenizer.encode("Anouk");
    const [tokens] = await generate(loaded.model, [prompt], {
      maxNewTokens: 12,
    });
    const stream = tokenizer.stream({ skipSpecialTokens: true, after: prompt });
    const wanted = tokens.map((token) => stream.push(token)).join("") +
      stream.end();
    const files = await filesOf(folder);
    const blobs = Array.from(
      files,
      ([name, bytes]) => new File([bytes as Uint8Array<ArrayBuffer>], name),
    );
    for (const model of [folder, files, Object.fromEntries(files), blobs]) {
      await using lm = await openLm(model, { device });
      assert.equal(lm.modelType, "llama");
      const got = await textOf(lm.generate("Anouk", { maxNewTokens: 12 }));
      assert.equal(got, wanted);
    }
  }));

Deno.test("generate() ends when nobody listens, by its signal, and is alone on its model", () =>
  inFolder(async (folder) => {
    await writeTrainable(folder);
    await using lm = await openLm(folder, ON);
    let pieces = 0;
    for await (const _ of lm.generate("Anouk", { maxNewTokens: 40 })) {
      if (++pieces === 2) break;
    }
    const control = new AbortController();
    await assert.rejects(async () => {
      for await (
        const _ of lm.generate("Anouk", { signal: control.signal })
      ) control.abort(new Error("enough"));
    }, /^Error: enough$/);
    const first = lm.generate("Anouk", { maxNewTokens: 4 });
    await first.next();
    await assert.rejects(
      lm.generate("Anouk").next(),
      /^RangeError: Cannot generate: the model is generating$/,
    );
    await first.return();
    assert.notEqual(
      await textOf(lm.generate("Anouk", { maxNewTokens: 4 })),
      "",
    );
    await assert.rejects(
      lm.generate({ messages: [{ role: "user", content: "Hi" }] }).next(),
      /^TypeError: Cannot lay out a conversation: .* has no chat template/,
    );
  }));

Deno.test("train() learns, tells each step, and its adapter's files make the same model again", () =>
  inFolder(async (folder) => {
    await writeTrainable(folder);
    await using lm = await openLm(folder, ON);
    assert.equal(lm.hasAdapter, false);
    await assert.rejects(lm.adapterFiles(), /the model has none; train one/);
    const ask = (lm: LanguageModel) =>
      textOf(lm.generate("Who sang first?", { maxNewTokens: 8 }));
    const before = await ask(lm);
    const events = await Array.fromAsync(lm.train(RECORDS, TRAIN));
    assert.deepEqual(
      events.map(({ step, steps }) => [step, steps]),
      Array.from({ length: 60 }, (_, i) => [i + 1, 60]),
    );
    assert.ok(events.at(-1)!.loss < events[0].loss / 2);
    assert.ok(events.every(({ tokensPerSecond }) => tokensPerSecond > 0));
    const after = await ask(lm);
    assert.notEqual(after, before);
    assert.match(after, /^ Anouk sang\./);

    const adapter = await lm.adapterFiles();
    assert.deepEqual([...adapter.keys()].sort(), [
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
    await using again = await openLm(folder, { ...ON, adapter });
    assert.equal(again.hasAdapter, true);
    assert.equal(await ask(again), after);
    // The adapter that is there is trained on, not a new one beside it.
    const [next] = await Array.fromAsync(
      again.train(RECORDS, { ...TRAIN, steps: 1 }),
    );
    assert.ok(next.loss < events[0].loss / 2);
    await Deno.mkdir(`${folder}/adapter`);
    for (const [name, bytes] of adapter) {
      await Deno.writeFile(`${folder}/adapter/${name}`, bytes);
    }
    await using third = await openLm(folder, {
      ...ON,
      adapter: `${folder}/adapter`,
    });
    assert.equal(await ask(third), after);
  }));

Deno.test("train() refuses what does not fit, and leaves the model usable", () =>
  inFolder(async (folder) => {
    await writeTrainable(folder);
    await using lm = await openLm(folder, ON);
    const refused = async (
      options: Parameters<typeof lm.train>[1],
      why: RegExp,
      records: Parameters<typeof lm.train>[0] = RECORDS,
    ) => {
      await assert.rejects(lm.train(records, options).next(), why);
    };
    await refused({}, /wanted one of steps and epochs, got neither/);
    await refused({ steps: 1, context: 65 }, /the model's context is 64/);
    await refused(
      { steps: 1, targets: ["q_poj"] },
      /no linear layer of its blocks is called q_poj; they are/,
    );
    await refused({ steps: 1 }, /row 1: wanted the fields messages, /, [{
      a: 1,
    }]);
    const control = new AbortController();
    control.abort(new Error("stop"));
    await refused({ steps: 1, signal: control.signal }, /stop/);
    assert.notEqual(await textOf(lm.generate("Who", { maxNewTokens: 2 })), "");
  }));

const ROOT = new URL("../../../", import.meta.url);

/** The first TypeScript block of a file that opens a causal LM, its import made to point here. */
async function exampleOf(path: string): Promise<string> {
  const text = await Deno.readTextFile(new URL(path, ROOT));
  const block = text.matchAll(/```ts\n([^]*?)```/g)
    .map(([, block]) => block).find((block) => block.includes("openLm"))!;
  return block.replaceAll(/^ \* ?/gm, "")
    .replace(/from ".*lm(\.ts)?";/, `from "${ROOT}src/lm/lm.ts";`)
    .replace("examples/model", "smol-nf4");
}

for (const path of ["README.md", "src/lm/lm.ts"]) {
  Deno.test(`the example of ${path} that opens a causal LM runs`, () =>
    inFolder(async (folder) => {
      await writeTrainable(`${folder}/smol-nf4`);
      await Deno.writeTextFile(`${folder}/example.ts`, await exampleOf(path));
      const { code, stdout, stderr } = await new Deno.Command(
        Deno.execPath(),
        {
          args: [
            ...["run", "--no-check", "--quiet", "--allow-read", "--allow-sys"],
            ...["--config", new URL("deno.json", ROOT).pathname],
            `${folder}/example.ts`,
          ],
          cwd: folder,
        },
      ).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.match(new TextDecoder().decode(stdout), /^20 \d/m);
    }));
}
