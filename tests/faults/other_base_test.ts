import assert from "node:assert/strict";
import { readTree } from "../helpers/model.ts";
import { withTrainable } from "./train_work.ts";
import { failsWith, succeeds } from "./work.ts";

const WASM = ["--quiet", "--device", "wasm", "--threads", "1"];
const LINE =
  /^loqa: Cannot use the adapter .*other\/adapter: it belongs to the quantised weights with the fingerprint [0-9a-f]{64}, those of .*\/one\/backbone have [0-9a-f]{64}$/m;

Deno.test("an adapter that was made for other quantised weights is refused by every verb; a copied folder's own is not", () =>
  withTrainable(async (folder) => {
    const init = (out: string, format: string, ...more: string[]) =>
      succeeds([
        ...["init", `${folder}/model`, "-o", `${folder}/${out}`, ...more],
        ...["--format", format, "--rank", "2", ...WASM],
      ]);
    await init("one", "nf3");
    await init("other", "nf2");
    const text = `${folder}/data.txt`;
    const more = ["--adapter", `${folder}/other/adapter`, ...WASM];
    const before = await readTree(folder);
    for (
      const args of [
        ["eval", `${folder}/one`, "--task", "ppl", "--data", text],
        ["generate", `${folder}/one`, "--prompt", "a"],
        ["merge", `${folder}/one`, "-o", `${folder}/merged`],
      ]
    ) await failsWith([...args, ...more], LINE);
    assert.deepEqual(await readTree(folder), before);

    await succeeds(["generate", `${folder}/one`, "--prompt", "a", ...WASM]);
    await new Deno.Command("cp", {
      args: ["-r", `${folder}/one`, `${folder}/copy`],
    }).output();
    await init("one", "nf2", "--force");
    await succeeds(["generate", `${folder}/copy`, "--prompt", "a", ...WASM]);
  }));
