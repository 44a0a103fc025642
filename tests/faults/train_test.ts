import assert from "node:assert/strict";
import { loqa } from "../helpers/cli.ts";
import { readTree, safetensorsBytes } from "../helpers/model.ts";
import { CAN_MOUNT, enlarged, mounted, needingMount } from "./disk.ts";
import {
  initInto,
  savedSteps,
  trainArgs,
  trained,
  withTrainable,
  writeTrainable,
} from "./train_work.ts";
import { failsWith, succeeds, there } from "./work.ts";

Deno.test({
  name: needingMount(
    "a disk that is full at a checkpoint: one line, the old checkpoint stays, --resume goes on",
  ),
  ignore: !CAN_MOUNT,
  fn: () =>
    withTrainable(async (folder) => {
      await succeeds(trainArgs(folder, `${folder}/whole`));
      // A checkpoint and a half.
      await using _disk = await mounted(`${folder}/disk`, "150k");
      const out = `${folder}/disk/out`;
      await failsWith(
        trainArgs(folder, out),
        /^loqa: Cannot write ".*\/disk\/out\/runs\/1\/checkpoints\/step-000040\.partial\/.*": the disk is full$/m,
      );
      assert.deepEqual(await savedSteps(out), [20]);
      assert.equal(
        await there(`${out}/runs/1/checkpoints/step-000040.partial`),
        false,
      );
      assert.ok(await enlarged(`${folder}/disk`, "8m"));
      await succeeds(trainArgs(folder, out, "--resume"));
      assert.deepEqual(
        await trained(out),
        await trained(`${folder}/whole`),
      );
    }),
});

/** Runs a training on the file `data` and asserts one line that matches, and that no result and no checkpoint is there. */
async function refuses(
  folder: string,
  { line, data = "data.txt" }: { line: RegExp; data?: string },
  ...more: string[]
): Promise<void> {
  const out = `${folder}/refused`;
  const args = trainArgs(folder, out, ...more).map((arg) =>
    arg.endsWith("/data.txt") ? `${folder}/${data}` : arg
  );
  await failsWith(args, line);
  assert.equal(await there(`${out}/adapter`), false);
  assert.deepEqual(await savedSteps(out), []);
}

Deno.test("a bad record: its file and line", () =>
  withTrainable(async (folder) => {
    const at = (line: number, rest = "") =>
      new RegExp(`^loqa: .*/data\\.jsonl", line ${line}\\b.*${rest}`);
    const check = async (
      lines: readonly string[],
      line: RegExp,
      ...more: string[]
    ) => {
      const text = lines.map((row) => `${row}\n`).join("");
      await Deno.writeTextFile(`${folder}/data.jsonl`, text);
      await refuses(folder, { line, data: "data.jsonl" }, ...more);
    };
    const sft = ["--task", "sft"];
    const good = '{"prompt": "a", "completion": "b"}';
    await check(['{"text": "one"}', "", '{"text": "tw'], at(3));
    await check(['{"text": "one"}', '{"words": "two"}'], at(2, '"text"'));
    await check([good, '{"prompt": "a"}'], at(2), ...sft);
    await check([good, '{"prompt": 3, "completion": "b"}'], at(2), ...sft);
    const long = "the capital of ".repeat(40);
    await check(
      [good, JSON.stringify({ prompt: long, completion: "b" })],
      at(2, "\\b16\\b"),
      ...[...sft, "--overflow", "error"],
    );
    await refuses(folder, {
      line: /^loqa: Cannot open ".*\/gone\.txt": no such file or folder$/m,
      data: "gone.txt",
    });
  }));

Deno.test("blocks beyond the model's context, and more than there is text", () =>
  withTrainable(async (folder) => {
    await refuses(folder, {
      line:
        /^loqa: Cannot train on sequences of 65 tokens: the model's context is 64$/m,
    }, ...["--block", "65"]);
    await Deno.writeTextFile(`${folder}/short.txt`, "Two words.");
    await refuses(folder, {
      line:
        /^loqa: Cannot learn from ".*short\.txt": \d+ tokens in all do not fill one sequence of 16; wanted more text or a smaller sequence length$/m,
      data: "short.txt",
    });
  }));

Deno.test("an adapter for another model: every mismatch in one line", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await initInto(folder, out);
    await writeTrainable(`${folder}/model`, {
      num_hidden_layers: 1,
      intermediate_size: 40,
    });
    await Deno.remove(`${out}/backbone`, { recursive: true });
    const wrong = [
      ...["gate", "up"].map((name) =>
        `model.layers.0.mlp.${name}_proj is 40 x 32, the adapter's 48 x 32`
      ),
      "model.layers.0.mlp.down_proj is 32 x 40, the adapter's 32 x 48",
      ...["mlp.down", "mlp.gate", "mlp.up"].map((name) =>
        `the model has no layer model.layers.1.${name}_proj`
      ),
      ...["k", "o", "q", "v"].map((name) =>
        `the model has no layer model.layers.1.self_attn.${name}_proj`
      ),
    ];
    const device = ["--quiet", "--device", "wasm"];
    for (
      const args of [
        ["train", out, "--data", `${folder}/data.txt`, ...device],
        ["generate", out, "--prompt", "a", ...device],
        ...[
          ["eval", `${folder}/model`, "--task", "ppl", "--adapter"].concat(
            `x=${out}/adapter`,
            ["--data", `${folder}/data.txt`, "--block", "16", ...device],
          ),
        ],
      ]
    ) {
      await failsWith(
        args,
        new RegExp(
          `^loqa: Cannot put the adapter "\\w+" on the model: (?=.*${
            wrong.join(")(?=.*")
          })(?!.*more$)`,
          "m",
        ),
      );
    }
  }));

Deno.test("a loss that is no number: the step, and the last good checkpoint", () =>
  withTrainable(async (folder) => {
    const steady = ["--schedule", "constant", "--warmup", "0", "--clip", "0"];
    const out = `${folder}/out`;
    await failsWith(
      trainArgs(
        folder,
        out,
        ...[...steady, "--lr", "1e30", "--save-every", "1"],
      ),
      /^loqa: Cannot go on training: after step 1 the loss is NaN; no checkpoint was written before$/m,
    );
    assert.deepEqual(await savedSteps(out), []);
    // Where nothing is saved in between, the next step tells.
    await refuses(folder, {
      line:
        /^loqa: Cannot go on training: the loss of step 2 is NaN; no checkpoint was written before$/m,
    }, ...[...steady, "--lr", "1e30"]);
    assert.equal(await there(`${out}/adapter`), false);
    // The weights may go first, while the loss before them was good.
    await refuses(folder, {
      line:
        /^loqa: Cannot go on training: after step 1 tensor .*lora_.* holds -?(NaN|Infinity); no checkpoint was written before$/m,
    }, ...[...steady, "--lr", "1e39", "--save-every", "1"]);
  }));

Deno.test("a training that has diverged: the step, and the last good checkpoint", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    const { code, stderr } = await loqa(
      ...trainArgs(
        folder,
        out,
        ...["--steps", "20", "--schedule", "constant", "--warmup", "0"],
        ...["--lr", "1e4", "--save-every", "1"],
      ),
    );
    assert.equal(code, 1);
    const [, step] = /^warning: step (\d+): .*: the training may have diverged/m
      .exec(stderr)!;
    assert.match(
      stderr,
      new RegExp(
        `^loqa: Cannot go on training: from step ${step} on .*; the last good checkpoint is .*/out/runs/1/checkpoints/step-00000${
          Number(step) - 1
        }$`,
        "m",
      ),
    );
    assert.equal((await savedSteps(out)).at(-1), Number(step) - 1);
  }));

Deno.test("a damaged checkpoint: its file is named and nothing is touched", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    const args = trainArgs(folder, out, "--steps", "40", "--keep", "1");
    await succeeds(args);
    const place = `${out}/runs/1/checkpoints/step-000040`;
    const kept = await readTree(place);
    const small = await safetensorsBytes({
      "0.mean": { shape: [1, 256] },
      "0.square": { shape: [1, 256] },
    });
    const bytes = (name: string) => kept.get(name)!;
    const text = (value: string) => new TextEncoder().encode(value);
    const state = JSON.parse(new TextDecoder().decode(bytes("state.json")));
    for (
      const [name, content, line] of [
        [
          "state.json",
          text("{"),
          /Cannot read ".*step-000040\/state\.json": it is not JSON/,
        ],
        ["state.json", null, /state\.json is no state/],
        [
          "state.json",
          text(
            JSON.stringify({ ...state, order: { ...state.order, index: -1 } }),
          ),
          /Cannot resume the order of examples in .*state\.json: wanted an epoch and an index/,
        ],
        [
          "optimizer.safetensors",
          bytes("optimizer.safetensors").subarray(0, 999),
          /optimizer\.safetensors/,
        ],
        [
          "optimizer.safetensors",
          small,
          /Cannot read .*optimizer\.safetensors: wanted 0\.mean as f32 \[\d+, 256\], got F32 \[1, 256\]/,
        ],
        [
          "optimizer.safetensors",
          null,
          /optimizer\.safetensors": no such file or folder/,
        ],
        [
          "adapter_model.safetensors",
          small,
          /Cannot read .*adapter_model\.safetensors: wanted base_model\.model\..*, got none/,
        ],
        [
          "adapter_model.safetensors",
          bytes("adapter_model.safetensors").subarray(0, 5),
          /adapter_model\.safetensors/,
        ],
      ] as const
    ) {
      if (content) await Deno.writeFile(`${place}/${name}`, content);
      else await Deno.remove(`${place}/${name}`);
      const before = await readTree(out);
      await failsWith([...args, "--resume"], line);
      assert.deepEqual(await readTree(out), before);
      await Deno.writeFile(`${place}/${name}`, bytes(name));
    }
  }));

Deno.test("folders that hold other things, and commands that lack something", () =>
  withTrainable(async (folder) => {
    await Deno.mkdir(`${folder}/mine`);
    await Deno.writeTextFile(`${folder}/mine/adapter`, "precious");
    const before = await readTree(folder);
    await failsWith(
      trainArgs(folder, `${folder}/mine`),
      /^loqa: Cannot write to .*\/mine: it is there already and no loqa output; wanted a new folder or one with loqa\.json$/m,
    );
    await failsWith(
      trainArgs(folder, `${folder}/data.txt`),
      /^loqa: Cannot write to .*\/data\.txt: it is there already/m,
    );
    await failsWith(
      trainArgs(folder, `${folder}/new`, "--method", "adapter"),
      /^loqa: Cannot train the adapter of .*\/model: it has none; wanted a folder that loqa init wrote, or --method lora or full$/m,
    );
    await failsWith(
      trainArgs(folder, `${folder}/new`, "--target", "c_attn"),
      /^loqa: Cannot train .*\/model: no linear layer of its blocks is called c_attn; they are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj$/m,
    );
    await failsWith(
      trainArgs(folder, `${folder}/new`, "--target", "q_proj,embed_tokens"),
      /^loqa: Cannot train .*is called embed_tokens; .*model\.embed_tokens is outside the blocks.*--modules-to-save/m,
    );
    await failsWith(
      trainArgs(folder, `${folder}/new`, "--rank-pattern", "down_porj=2"),
      /^loqa: Cannot use the rank pattern "down_porj": no layer matches; they are called q_proj/m,
    );
    await failsWith(
      trainArgs(folder, `${folder}/new`, "--train-biases", "all"),
      /^loqa: Cannot train the biases of .*\/model \(all\): it has none$/m,
    );
    assert.deepEqual(await readTree(folder), before);
  }));
