import { findNodePackage, runNodePackage } from "./environment.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";
import { makePacked, PACKED, type PackedSubject } from "./small.ts";

const folder = scratch();
const transformersJs = await findNodePackage("transformers-js");

const subjects: PackedSubject[] = [...PACKED, {
  label: "Mistral with a window, groups that do not fill a row",
  format: "int3",
  block: 64,
  changes: {
    model_type: "mistral",
    architectures: ["MistralForCausalLM"],
    sliding_window: 4,
    intermediate_size: 88,
  },
}];

for (const subject of subjects) {
  const label = `ONNX, ${subject.label}`;
  await peerTests({ label }, "export_onnx.py", async () => {
    const { original, packed } = await makePacked(folder, subject);
    const out = `${packed}.onnx`;
    await loqaJson("export", packed, "--to", "onnx", "-o", out);
    let ran = "-";
    if (transformersJs) {
      ran = `${out}.json`;
      const ids = [45, 533, 259, 265, 79, 88, 369];
      const request = { out: ran, folder: out, ids, count: 16 };
      await runNodePackage("transformers_js.ts", transformersJs, request);
    }
    return [original, packed, out, ran];
  });
}
