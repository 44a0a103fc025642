/** Files that loqa wrote, edited by hand: every verb that reads one names it in one line. */

import assert from "node:assert/strict";
import { checkShape, type JsonShape } from "../../src/io/files/json_shape.ts";
import { initInto, savedSteps, withTrainable } from "./train_work.ts";
import { failsWith, succeeds } from "./work.ts";

const DEVICE = ["--device", "wasm", "--threads", "1"];

/** Writes `value` over the JSON file at `path` while `work` runs. */
async function edited(
  path: string,
  change: (json: Record<string, unknown>) => unknown,
  work: () => Promise<void>,
): Promise<void> {
  const text = await Deno.readTextFile(path);
  const { mtime } = await Deno.stat(path);
  const made = change(JSON.parse(text));
  await Deno.writeTextFile(
    path,
    typeof made === "string" ? made : JSON.stringify(made),
  );
  try {
    await work();
  } finally {
    await Deno.writeTextFile(path, text);
    await Deno.utime(path, mtime!, mtime!);
  }
}

Deno.test("loqa.json, state.json and configs that were edited are told in one line with the file's name", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    const data = `${folder}/data.txt`;
    const train = (steps: number, ...more: string[]) => [
      ...["train", out, "--data", data, ...DEVICE, "--block", "16"],
      ...[
        "--save-every",
        "1",
        "--batch",
        "2",
        "--steps",
        `${steps}`,
        "--lr",
        "1e-3",
        "--quiet",
      ],
      ...more,
    ];
    await succeeds(train(2));
    const verbs: Record<string, string[]> = {
      inspect: ["inspect", out],
      generate: ["generate", out, "--prompt", "a", "--max-new-tokens", "1"],
      eval: ["eval", out, "--task", "ppl", "--data", data, "--block", "16"],
      merge: ["merge", out, "-o", `${folder}/merged`],
      export: ["export", out, "--to", "gguf", "-o", `${folder}/x.gguf`],
      resume: train(3, "--resume"),
    };
    const refuses = (line: RegExp, ...names: string[]) => async () => {
      for (const name of names) await failsWith(verbs[name], line);
    };
    const main = `${out}/loqa.json`;
    await edited(
      main,
      () => "{",
      refuses(
        /^loqa: Cannot read ".*\/out\/loqa\.json": it is not JSON: /,
        ...Object.keys(verbs),
      ),
    );
    const layers = (json: Record<string, unknown>) => [
      null,
      ...(json.layers as unknown[]).slice(1),
    ];
    await edited(
      main,
      (json) => ({ ...json, layers: layers(json) }),
      refuses(
        /^loqa: Cannot read ".*\/out\/loqa\.json": layers\[0\]: wanted an object, got null\n$/,
        ...["inspect", "eval"],
      ),
    );
    await edited(
      main,
      (json) => ({ ...json, options: null }),
      refuses(/loqa\.json": options: wanted an object, got null\n$/, "inspect"),
    );
    const run = `${out}/runs/1`;
    await edited(
      `${run}/loqa.json`,
      () => ({}),
      refuses(
        /^loqa: Cannot read ".*\/runs\/1\/loqa\.json": options: wanted an object, got none\n$/,
        ...["inspect", "resume"],
      ),
    );
    const steps = await savedSteps(out, 1);
    const last = `step-${String(steps.at(-1)).padStart(6, "0")}`;
    const state = `${run}/checkpoints/${last}/state.json`;
    for (
      const change of [
        () => "[]",
        (json: Record<string, unknown>) => ({ ...json, losses: {} }),
        (json: Record<string, unknown>) => ({ ...json, order: { size: -1 } }),
        (json: Record<string, unknown>) => ({ ...json, step: 99999 }),
      ]
    ) await edited(state, change, refuses(/state\.json/, "resume"));
    const adapter = `${out}/adapter/adapter_config.json`;
    for (
      const [key, value] of [["r", "x"], ["lora_alpha", []], [
        "target_modules",
        3,
      ]]
    ) {
      await edited(
        adapter,
        (json) => ({ ...json, [String(key)]: value }),
        refuses(/^loqa: .*adapter_config\.json/, "inspect", "eval"),
      );
    }
    await Deno.writeTextFile(`${out}/backbone/generation_config.json`, "[]");
    await failsWith(verbs.generate, /generation_config\.json/);
  }));

Deno.test("a template's raise_exception is one line, in generate and in train", () =>
  withTrainable(async (folder) => {
    const config = `${folder}/model/tokenizer_config.json`;
    const json = JSON.parse(await Deno.readTextFile(config));
    json.chat_template =
      "{{ raise_exception('Conversation roles must alternate') }}";
    await Deno.writeTextFile(config, JSON.stringify(json));
    const line = /^loqa: [^\n]*Conversation roles must alternate[^\n]*\n$/;
    const model = `${folder}/model`;
    await failsWith(["generate", model, "--chat", "--prompt", "hello"], line);
    const chats = `${folder}/chats.jsonl`;
    await Deno.writeTextFile(
      chats,
      JSON.stringify({
        messages: [
          { role: "user", content: "a" },
          { role: "assistant", content: "b" },
        ],
      }),
    );
    await failsWith(
      [
        ...["train", model, "--data", chats, "--task", "sft", ...DEVICE],
        ...["-o", `${folder}/new`, "--steps", "1", "--lr", "1e-3"],
      ],
      line,
    );
  }));

Deno.test("checkShape() names the file, the place, what was wanted and what is there", () => {
  const shape: JsonShape = { "a": ["number"], "b?": { "c": "text" } };
  checkShape({ a: [1, 2] }, shape, "x.json");
  checkShape({ a: [], b: { c: "", d: 1 } }, shape, "x.json");
  const fails = (value: unknown, line: string) =>
    assert.throws(() => checkShape(value, shape, "x.json"), {
      name: "SyntaxError",
      message: `Cannot read "x.json": ${line}`,
    });
  fails({}, "a: wanted a list, got none");
  fails({ a: [1, "2"] }, 'a[1]: wanted a number, got "2"');
  fails({ a: [], b: { c: null } }, "b.c: wanted a text, got null");
  fails([], "it: wanted an object, got []");
});
