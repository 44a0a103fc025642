// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import { folderFiles } from "../../src/io/open.ts";
import { openTokenizer } from "../../src/io/open_tokenizer.ts";
import { own } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

type Json = Record<string, unknown>;

const TEXT = "The capital of Stelmark is";
const MOST = 8;
const END = "<|endoftext|>";

/** A post-processor that puts BOS before a text. */
const before = {
  type: "TemplateProcessing",
  single: [
    { SpecialToken: { id: END, type_id: 0 } },
    { Sequence: { id: "A", type_id: 0 } },
  ],
  pair: [
    { Sequence: { id: "A", type_id: 0 } },
    { Sequence: { id: "B", type_id: 1 } },
  ],
  special_tokens: { [END]: { id: END, ids: [0], tokens: [END] } },
};

/** Changes to the files of the own model; null for a file that is left out. */
const CASES: Record<string, Record<string, Json | null>> = {
  "tokenizer.json adds BOS, the config says not": {
    "tokenizer.json": { post_processor: before },
    "tokenizer_config.json": { add_bos_token: false },
  },
  "tokenizer.json adds nothing, the config says BOS and EOS": {
    "tokenizer.json": { post_processor: null },
    "tokenizer_config.json": { add_bos_token: true, add_eos_token: true },
  },
  "a list of ends in generation_config.json": {
    "generation_config.json": { eos_token_id: "FOURTH" },
  },
  "a list of ends in config.json": {
    "generation_config.json": null,
    "config.json": { eos_token_id: "FOURTH" },
  },
  "generation_config.json goes before config.json": {
    "config.json": { eos_token_id: "FOURTH" },
  },
};

const folder = scratch();

async function write(
  out: string,
  changes: Record<string, Json | null>,
  fourth: number,
): Promise<void> {
  await Deno.mkdir(out, { recursive: true });
  for await (const { name } of Deno.readDir(own.path)) {
    if (changes[name] === null || name.endsWith(".txt")) continue;
    const bytes = await Deno.readFile(`${own.path}/${name}`);
    const change = changes[name] &&
      JSON.parse(
        JSON.stringify(changes[name]).replace('"FOURTH"', `[0,${fourth}]`),
      );
    await Deno.writeFile(
      `${out}/${name}`,
      change
        ? new TextEncoder().encode(JSON.stringify({
          ...JSON.parse(new TextDecoder().decode(bytes)),
          ...change,
        }))
        : bytes,
    );
  }
}

await peerTests(own, "ends.py", async () => {
  const prompt = ["--prompt", TEXT, "--max-new-tokens", `${MOST}`];
  const added = async (path: string) =>
    (await loqaJson("generate", path, ...prompt, "--device", "wasm"))
      .tokens as number[];
  const fourth = (await added(own.path))[3];
  for (const [name, changes] of Object.entries(CASES)) {
    const out = `${folder}/${name.replaceAll(/\W+/g, "-")}`;
    await write(out, changes, fourth);
    const tokenizer = await openTokenizer(await folderFiles(out));
    await Deno.writeTextFile(
      `${out}/ours.json`,
      JSON.stringify({
        text: TEXT,
        ids: [...tokenizer.encode(TEXT)],
        new: await added(out),
        most: MOST,
      }),
    );
  }
  return [folder];
});
