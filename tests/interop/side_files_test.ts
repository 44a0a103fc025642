import { bert, own, smollm, stories } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();

for (const [i, model] of [own, stories, bert, smollm].entries()) {
  await peerTests(model, "side_files.py", async () => {
    const out = `${folder}/${i}`;
    const fast = ["--method", "qlora", "--iters", "0", "--rank", "2"];
    await loqaJson("init", model.path, "-o", out, ...fast, "--backbone", "bnb");
    return [model.path, out];
  });
}
