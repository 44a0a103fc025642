import assert from "node:assert/strict";
import { loqa } from "../../../helpers/cli.ts";
import { inFolder } from "../../../helpers/model.ts";

const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;

async function generated(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await loqa(
    ...["generate", ...args, "--device", "wasm", "--quiet"],
  );
  assert.deepEqual([code, stderr], [0, ""]);
  return stdout;
}

const FEW = ["--max-new-tokens", "8"];

Deno.test("loqa generate: the prompt and what follows; --json the document", async () => {
  const prompt = ["--prompt", "The capital of Stelmark is"];
  const text = await generated(EXAMPLE, ...prompt, ...FEW);
  const found = JSON.parse(
    await generated(EXAMPLE, ...prompt, ...FEW, "--json"),
  );
  assert.deepEqual([found.verb, found.model], ["generate", EXAMPLE]);
  assert.equal(found.prompt, prompt[1]);
  assert.equal(text, `${found.prompt}${found.text}\n`);
  assert.match(found.text, /^ Klithton\b/);
  assert.equal(found.tokens.length, 8);
  assert.ok(found.tokensPerSecond > 0 && found.seconds > 0);
});

Deno.test("loqa generate: the space behind the prompt's last word, where decoders drop a text's first", () =>
  inFolder(async (folder) => {
    for await (const { name } of Deno.readDir(EXAMPLE)) {
      await Deno.copyFile(`${EXAMPLE}/${name}`, `${folder}/${name}`);
    }
    const file = `${folder}/tokenizer.json`;
    const tokenizer = JSON.parse(await Deno.readTextFile(file));
    tokenizer.decoder = {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "Ġ" }, content: " " },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    };
    await Deno.writeTextFile(file, JSON.stringify(tokenizer));
    const prompt = ["--prompt", "The capital of Stelmark is", ...FEW];
    const text = await generated(folder, ...prompt);
    assert.match(text, /^The capital of Stelmark is Klithton\b/);
    const found = JSON.parse(await generated(folder, ...prompt, "--json"));
    assert.equal(text, `${found.prompt}${found.text}\n`);
  }));

Deno.test("loqa generate: samples by the seed", async () => {
  const args = [EXAMPLE, "--prompt", "The", ...FEW, "--temperature", "1.5"];
  const [first, again, other, one] = await Promise.all([
    generated(...args, "--seed", "3"),
    generated(...args, "--seed", "3"),
    generated(...args, "--seed", "4"),
    generated(...args, "--seed", "3", "--top-k", "1"),
  ]);
  assert.equal(again, first);
  assert.notEqual(other, first);
  assert.equal(one, await generated(EXAMPLE, "--prompt", "The", ...FEW));
});

Deno.test("loqa generate: adapters by name beside the model's own, or none", () =>
  inFolder(async (folder) => {
    const train = async (out: string, text: string) => {
      await Deno.writeTextFile(`${folder}/data.txt`, text.repeat(40));
      const { code, stderr } = await loqa(
        ...["train", EXAMPLE, "--data", `${folder}/data.txt`, "-o", out],
        ...["--steps", "12", "--seq-len", "24", "--lr", "2e-2", "--quiet"],
        ...["--warmup", "0", "--batch", "2", "--device", "wasm"],
      );
      assert.equal(code, 0, stderr);
    };
    const [own, other] = [`${folder}/own`, `${folder}/other`];
    await train(own, "The flag is green. ");
    await train(other, "A judge is a horse. ");
    const prompt = ["--prompt", "The", ...FEW];
    const run = (...args: string[]) => generated(...args, ...prompt);
    const [plain, trained, both, none] = await Promise.all([
      run(EXAMPLE),
      run(own),
      run(own, "--adapter", `x=${other}/adapter`),
      run(own, "--no-adapter"),
    ]);
    assert.match(trained, /^The flag is green\. /);
    assert.equal(none, plain);
    assert.equal(new Set([plain, trained, both]).size, 3);
    assert.equal(
      await run(EXAMPLE, "--adapter", `x=${own}/adapter`),
      trained,
    );
  }));

for (
  const [args, line] of [
    [[], "generate takes one DIR, got none"],
    [["a"], "generate needs --prompt TEXT"],
    [
      ["a", "--prompt", "x", "--system", "y"],
      "--system has no effect without --chat",
    ],
    [
      ["a", "--prompt", "x", "--top-k", "2"],
      "--top-k has no effect without --temperature",
    ],
    [["a", "-p", "x", "-p", "y"], '-p is given twice, "x" and "y"'],
    [
      ["a", "--prompt", "x", "--top-p", "2", "--temperature", "1"],
      "--top-p must be a number",
    ],
    [
      ["a", "--prompt", "x", "--top-k", "0", "--temperature", "1"],
      "--top-k must be a whole number",
    ],
    [
      ["a", "--prompt", "x", "--temperature", "-1"],
      '--temperature must be a number >= 0, got "-1"',
    ],
  ] as const
) {
  Deno.test(`wrong usage: loqa generate ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await loqa("generate", ...args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    const [first, second, end] = stderr.split("\n");
    assert.ok(first.startsWith(`loqa: ${line}`), first);
    assert.deepEqual([second, end], ["Try: loqa generate --help", ""]);
  });
}

Deno.test("loqa generate: tools, thinking and variables of the chat template", () =>
  inFolder(async (folder) => {
    for await (const { name } of Deno.readDir(EXAMPLE)) {
      await Deno.copyFile(`${EXAMPLE}/${name}`, `${folder}/${name}`);
    }
    await Deno.writeTextFile(
      `${folder}/chat_template.jinja`,
      "{{ raise_exception((tools | tojson) ~ ' ' ~ (enable_thinking | tojson) ~ ' ' ~ style ~ ' ' ~ messages[0].content) }}",
    );
    await Deno.writeTextFile(`${folder}/tools.json`, '[{"days": 2.0}]');
    const run = (...args: string[]) =>
      loqa("generate", folder, "--prompt", "Hi", ...args);
    const chat = ["--chat", "--system", "Short.", "--tools"];
    const more = ["--enable-thinking", "false", "--chat-template-kwargs"];
    const { code, stderr } = await run(
      ...[...chat, `${folder}/tools.json`, ...more, '{"style": "terse"}'],
    );
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^loqa: .*: \[\{"days": 2\.0\}\] false terse Short\.\n$/,
    );
    for (
      const [args, line] of [
        [["--tools", "x"], "--tools has no effect without --chat"],
        [
          ["--chat", "--chat-template-kwargs", "[1]"],
          "--chat-template-kwargs wants a JSON object",
        ],
        [
          ["--chat", "--chat-template-kwargs", "{"],
          "--chat-template-kwargs is not JSON: ",
        ],
        [
          ["--chat", "--enable-thinking", "maybe"],
          "--enable-thinking must be one of true, false",
        ],
        [
          ["--chat", "--tools", `${folder}/config.json`],
          `--tools ${folder}/config.json wants a JSON list`,
        ],
      ] as const
    ) {
      const { code, stderr } = await run(...args);
      assert.deepEqual(
        [code, stderr.startsWith(`loqa: ${line}`)],
        [2, true],
        stderr,
      );
    }
  }));

Deno.test("loqa generate: no chat template, and a prompt that fills the context", async () => {
  for (
    const [args, line] of [
      [
        ["--prompt", "x", "--chat"],
        /^loqa: Cannot lay out a conversation: .* has no chat template\n$/,
      ],
      [
        ["--prompt", "The capital of Caror. ".repeat(200)],
        /^loqa: Cannot generate: a prompt of \d+ tokens fills the model's context of 512\n$/,
      ],
    ] as const
  ) {
    const { code, stderr } = await loqa(
      ...["generate", EXAMPLE, ...args, "--device", "wasm", "--quiet"],
    );
    assert.equal(code, 1);
    assert.match(stderr, line);
  }
});
