/** Each example, run with the flags that its first lines tell, and what it must print. */

import assert from "node:assert/strict";
import { importsOf, listFiles, ROOT } from "./tools/source.ts";

/** A line of the output of each; what runs from a URL is tested in tests/url, the demo on its own. */
const PRINTS: Readonly<Record<string, RegExp>> = {
  "01_one_matrix.ts": /^nf2: 0\.\d+ alone, by iteration /m,
  "02_checkpoint.ts": /^28 layers: 0\.\d+ -> 0\.\d+, worst model\.layers\./m,
  "03_mixed_precision.ts": /^bits=3: 3\.\d+ bits a weight, error /m,
  "05_train.ts": /^Anouk the singer sells seven red boats\./m,
  "06_generate.ts": /^Anouk|^ \w+/m,
  "07_qalora_gguf.ts": /^.*model\.gguf: 28 quantised layers, .*$/m,
};
const ELSEWHERE = ["04_from_url.ts", "demo.ts"];

const { name, exports } = JSON.parse(
  await Deno.readTextFile(new URL("deno.json", ROOT)),
);
const entries = new Set(
  Object.keys(exports).map((path) => path.replace(/^\./, name)),
);

/** Runs an example with its own flags. */
async function run(file: string, ...args: string[]) {
  const text = await Deno.readTextFile(new URL(`examples/${file}`, ROOT));
  const line = new RegExp(`^ \\*     deno run (.*?)examples/${file}`, "m");
  const flags = line.exec(text)?.[1].trim().split(" ").filter(Boolean);
  assert.ok(flags, `${file} tells no "deno run FLAGS examples/${file}"`);
  const temporary = await Deno.makeTempDir({ prefix: "loqa-example-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", ...flags, `examples/${file}`],
        ...args,
      ],
      cwd: ROOT,
      env: { NO_COLOR: "1", TMPDIR: temporary },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

for (const path of await listFiles("examples")) {
  const file = path.slice("examples/".length);
  if (file.includes("/")) continue;

  Deno.test(`${path} imports the package's entry points alone`, async () => {
    const text = await Deno.readTextFile(new URL(path, ROOT));
    for (const { specifier } of importsOf(text)) {
      assert.ok(
        file === "04_from_url.ts"
          ? specifier === "../mod.ts"
          : entries.has(specifier),
        `it imports "${specifier}"`,
      );
    }
  });

  if (ELSEWHERE.includes(file)) continue;
  Deno.test(`${path} runs with the flags that it tells`, async () => {
    assert.match(await run(file), PRINTS[file]);
  });
}

Deno.test("examples/06_generate.ts has a conversation where there is a chat template", async () => {
  const folder = await Deno.makeTempDir({ prefix: "loqa-example-" });
  try {
    for (const file of ["config.json", "model.safetensors", "tokenizer.json"]) {
      await Deno.copyFile(
        new URL(`examples/model/${file}`, ROOT),
        `${folder}/${file}`,
      );
    }
    await Deno.writeTextFile(
      `${folder}/tokenizer_config.json`,
      JSON.stringify({
        chat_template:
          "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
      }),
    );
    const printed = await run("06_generate.ts", folder, "Who sings?");
    assert.match(printed, /^> Who sings\?\n[^]*^> And in one word\?$/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
