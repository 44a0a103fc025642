import assert from "node:assert/strict";
import { VERBS } from "../../../../src/cli/main.ts";
import {
  suggestOption,
  suggestVerb,
} from "../../../../src/cli/text/suggest.ts";

Deno.test("options of mlx-lm, PEFT, transformers and llama.cpp: each verb says its own name for them", async () => {
  for (
    const [verb, given, meant] of [
      // mlx-lm
      ["train", "--iters", "steps"],
      ["train", "--batch-size", "batch"],
      ["train", "--learning-rate", "lr"],
      ["train", "--max-seq-length", "seq-len"],
      ["train", "--num-layers", "target"],
      ["train", "--adapter-path", "out"],
      ["train", "--grad-checkpoint", "checkpointing"],
      ["train", "--fine-tune-type", "method"],
      ["generate", "--adapter-path", "adapter"],
      ["generate", "--max-tokens", "max-new-tokens"],
      ["generate", "--temp", "temperature"],
      ["merge", "--adapter-path", "adapter"],
      ["init", "--q-group-size", "block"],
      ["init", "--q-bits", "format"],
      // PEFT
      ["train", "--lora-alpha", "alpha"],
      ["train", "--lora_alpha", "alpha"],
      ["init", "--lora_alpha", "alpha"],
      ["train", "--lora_dropout", "dropout"],
      ["train", "--target_modules", "target"],
      ["init", "--loftq_iter", "iters"],
      // transformers
      ["train", "--gradient_accumulation_steps", "accumulation"],
      ["train", "--max_grad_norm", "clip"],
      ["train", "--warmup_steps", "warmup"],
      ["train", "--block_size", "seq-len"],
      ["data", "--max_length", "seq-len"],
      ["eval", "--max-seq-length", "seq-len"],
      ["eval", "--num_beams", "beams"],
      ["eval", "--num_fewshot", "shots"],
      ["generate", "--max_new_tokens", "max-new-tokens"],
      // llama.cpp
      ["eval", "--ctx-size", "seq-len"],
      ["generate", "--n-predict", "max-new-tokens"],
      // One flag, one meaning: a group size is no sequence length.
      ["init", "--group-size", "block"],
      ["plan", "--group-size", "block"],
      ["plan", "--max-seq-length", "seq-len"],
      ["train", "--group-size", undefined],
    ] as const
  ) {
    const { verb: { run } } = await VERBS[verb].load();
    await assert.rejects(async () => await run(["x", given, "1"]), {
      name: "UsageError",
      message: `there is no option ${given}${
        meant === undefined ? "" : `; did you mean --${meant}?`
      }`,
    });
  }
});

Deno.test("suggestOption() suggests an option, not its alias", () => {
  const known = new Map([["seq-len", "seq-len"], ["block", "seq-len"]]);
  assert.equal(suggestOption("BLOCK", known), "seq-len");
  assert.equal(suggestOption("blokc", known), "seq-len");
  assert.equal(suggestOption("q-group-size", known), undefined);
  assert.equal(suggestOption("zzz", known), undefined);
});

Deno.test("suggestVerb() knows the verbs of other tools", () => {
  const known = ["init", "train", "merge", "generate"];
  assert.equal(suggestVerb("fuse", known), "merge");
  assert.equal(suggestVerb("lora", known), "train");
  assert.equal(suggestVerb("Tarin", known), "train");
  assert.equal(suggestVerb("fly", known), undefined);
});
