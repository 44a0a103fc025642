import { MODELS } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();

for (const [i, model] of MODELS.entries()) {
  await peerTests(model, "codes.py", async () => {
    const out = `${folder}/${i}`;
    const plain = ["--method", "qlora", "--iters", "0", "--format", "nf4"];
    await loqaJson(
      "init",
      model.path,
      "-o",
      out,
      ...plain,
      "--backbone",
      "bnb",
    );
    return [model.path, model.kind, out];
  });
}
