import { bart, own } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();

for (const [i, model] of [own, bart].entries()) {
  const at = `${folder}/${i}`;
  await peerTests(model, "make_bnb.py", () => {
    Deno.mkdirSync(at);
    return Promise.resolve([model.path, model.kind, at]);
  });
  for (const name of ["nf4", "nf4-nested"]) {
    const subject = { ...model, label: `${model.label}, ${name} as written` };
    await peerTests(subject, "read_bnb.py", async () => {
      const document = await loqaJson("inspect", `${at}/${name}`);
      await Deno.writeTextFile(`${at}/${name}.json`, JSON.stringify(document));
      const out = `${at}/${name}-again`;
      const plain = ["--method", "qlora", "--iters", "0", "--format", "nf4"];
      const dense = ["--rank", "2", "--backbone", "bnb"];
      await loqaJson("init", `${at}/${name}`, "-o", out, ...plain, ...dense);
      return [at, name];
    });
    const based = { ...model, label: `${model.label}, ${name} kept as Q` };
    await peerTests(based, "base_bnb.py", async () => {
      const out = `${at}/${name}-base`;
      const base = ["--base", `${at}/${name}`, "--rank", "8"];
      const layout = ["--backbone", "packed", "--dtype", "f32"];
      await loqaJson("init", model.path, "-o", out, ...base, ...layout);
      return [model.path, model.kind, at, name];
    });
  }
}
