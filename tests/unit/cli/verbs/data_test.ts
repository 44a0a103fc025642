import assert from "node:assert/strict";
import { DataTally } from "../../../../src/cli/data_tally.ts";
import { shortened, shown, tallyText } from "../../../../src/cli/text/data.ts";
import { loqa } from "../../../helpers/cli.ts";
import { inFolder } from "../../../helpers/model.ts";

const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;
const TEMPLATE =
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/** The example's model with a chat template, and a data file beside it. */
async function withData(
  lines: readonly (string | object)[],
  work: (folder: string) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    for await (const { name } of Deno.readDir(EXAMPLE)) {
      await Deno.copyFile(`${EXAMPLE}/${name}`, `${folder}/${name}`);
    }
    await Deno.writeTextFile(`${folder}/chat_template.jinja`, TEMPLATE);
    await Deno.writeTextFile(
      `${folder}/data.jsonl`,
      lines.map((line) =>
        `${typeof line === "string" ? line : JSON.stringify(line)}\n`
      ).join(""),
    );
    await work(folder);
  });
}

const chat = (...contents: unknown[]) => ({
  messages: contents.map((content, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content,
  })),
});

/** A record of each kind that can be wrong, and what is said of it. */
const FAULTY: readonly (readonly [string | object, string])[] = [
  [
    chat("a", ""),
    "message 2: wanted an answer, got an empty one",
  ],
  [chat("a"), "wanted a message of the assistant, got none"],
  [
    {
      messages: [...chat("a").messages, {
        role: "assistant",
        content: "b",
        weight: 0,
      }],
    },
    "wanted a message of the assistant that is to be learnt, got none: weight or train takes them out",
  ],
  [chat(undefined, "b"), "message 1: wanted a content, got none"],
  [
    { messages: "x" },
    'field "messages": wanted a list of messages, got a string',
  ],
  [
    chat([{ type: "image" }], "b"),
    'message 1: wanted parts of the content as texts ({"type": "text", "text": …}), got "image"',
  ],
  ['{"messages": [{"role": "user"', "it is not JSON: "],
  [
    { text: "only" },
    "wanted the fields messages, conversations, prompt and completion, instruction and output, or question and answer, got text (texts are for the task lm)",
  ],
  [
    { conversations: [{ from: "narrator", value: "a" }] },
    'message 1: wanted "from" as one of human, user, ',
  ],
  [
    {
      messages: [...chat("a").messages, {
        role: "assistant",
        content: null,
        "tool_calls": [{ function: { name: "weather", arguments: {} } }],
      }],
    },
    "message 2: the chat template does not write its tool calls",
  ],
  [{ prompt: "a", completion: "" }, "wanted an answer, got an empty one"],
];

const GOOD = [
  chat("How many legs?", "Four.", "Eyes?", "Two."),
  { prompt: "Say hi:", completion: " hi", system: "Be brief." },
  chat("long ".repeat(60), "b"),
];

Deno.test("loqa data: what is learnt between brackets, ids, counts, and why records are refused", () =>
  withData([...GOOD, ...FAULTY.map(([record]) => record)], async (folder) => {
    const args = ["data", `${folder}/data.jsonl`, "--model", folder];
    const { code, stdout, stderr } = await loqa(
      ...[...args, "--seq-len", "64", "--show", "2", "--ids", "--quiet"],
    );
    assert.deepEqual([code, stderr], [0, ""]);
    const [first, second] = stdout.split("\n\n");
    const [place, ...lines] = first.split("\n");
    assert.equal(place, `"${folder}/data.jsonl", line 1`);
    assert.deepEqual(lines.slice(0, 4), [
      "  <user>How many legs?</s>",
      "  <assistant>⟦Four.</s>",
      "  ⟧<user>Eyes?</s>",
      "  <assistant>⟦Two.</s>",
    ]);
    assert.match(
      first,
      /\n {2}\d+( \d+)* ⟦\d+( \d+)*⟧ \d+( \d+)* ⟦\d+( \d+)*⟧$/,
    );
    assert.match(second, /line 2\n {2}Say hi:⟦ hi<\S+>⟧\n/);
    assert.match(stdout, /^records +14$/m);
    assert.match(stdout, /^examples +2$/m);
    assert.match(stdout, /^learnt +\d+ \(\d+\.\d %\)$/m);
    assert.match(
      stdout,
      /^longer than 64 tokens: 1, dropped \(the first: .*line 3\)$/m,
    );
    assert.match(
      stdout,
      /^field "system" is not used \(the first: .*line 2\)$/m,
    );
    assert.match(stdout, /^refused: 11, training would end at the first$/m);
    for (const [i, [, reason]] of FAULTY.entries()) {
      const line = stdout.split("\n").find((line) =>
        line.startsWith(`  1  ${reason}`)
      );
      assert.ok(line?.endsWith(`line ${GOOD.length + i + 1})`), reason);
    }
    const found = JSON.parse((await loqa(...args, "--json", "--quiet")).stdout);
    assert.deepEqual(
      [found.verb, found.records, found.refused, found.examples],
      ["data", 14, 11, 3],
    );
    assert.equal(
      found.histogram.reduce(
        (sum: number, { count }: { count: number }) => sum + count,
        0,
      ),
      3,
    );
  }));

Deno.test("loqa data: --overflow truncate, --learn last, nothing left", () =>
  withData([GOOD[0], GOOD[2]], async (folder) => {
    const run = async (...more: string[]) => {
      const { stdout } = await loqa(
        ...["data", `${folder}/data.jsonl`, "--model", folder, "--quiet"],
        ...["--show", "1", ...more],
      );
      return stdout;
    };
    assert.match(
      await run("--seq-len", "64", "--overflow", "truncate"),
      /^longer than 64 tokens: 1, truncated, 1 of them dropped because nothing of the answer would be left/m,
    );
    const last = await run("--learn", "last");
    assert.match(
      last,
      /<assistant>Four\.<\/s>\n {2}<user>Eyes\?<\/s>\n {2}<assistant>⟦Two/,
    );
    assert.match(
      await run("--seq-len", "8"),
      /^nothing is left to be learnt$/m,
    );
  }));

Deno.test("every record that is refused is counted, however many reasons there are", () => {
  const tally = new DataTally({ block: 8, overflow: "drop" });
  const refuse = (line: number, reason: string) =>
    tally.refuse(`Cannot read "d.jsonl", line ${line}: ${reason}`);
  for (let i = 1; i <= 60; i++) refuse(i, `got ${"abc"[i % 3].repeat(i)}`);
  for (let i = 61; i <= 70; i++) refuse(i, `it is not JSON: ${"x".repeat(i)}`);
  const report = tally.report([]);
  assert.equal(report.reasons.length, 50);
  assert.deepEqual(report.otherReasons, {
    count: 20,
    first: '"d.jsonl", line 51',
  });
  assert.match(
    tallyText(report, undefined),
    /^ {2}20 {2}for other reasons \(the first: "d\.jsonl", line 51\)$/m,
  );
  const alike = new DataTally({ block: 8, overflow: "drop" });
  for (const text of ["x", "yy"]) {
    alike.refuse(`Cannot read "d.jsonl", line 1: it is not JSON: ${text}`);
  }
  assert.deepEqual(alike.report([]).reasons, [
    { reason: "it is not JSON: x", count: 2, first: '"d.jsonl", line 1' },
  ]);
});

Deno.test("of a long text a terminal gets beginning and end", () => {
  const parts = [
    { text: "a".repeat(50), learnt: false },
    { text: `${"b".repeat(60)}😀`, learnt: true },
    { text: "c".repeat(8), learnt: false },
  ];
  assert.deepEqual(shortened(parts, 120), parts);
  const cut = shortened(parts, 100).filter(({ text }) => text !== "");
  assert.deepEqual(cut, [
    { text: "a".repeat(50), learnt: false },
    { text: "b".repeat(30), learnt: true },
    { text: "[… 20 characters …]", learnt: false },
    { text: `${"b".repeat(10)}😀`, learnt: true },
    { text: "c".repeat(8), learnt: false },
  ]);
  // A character that is cut in two is none.
  assert.equal(shortened(parts.slice(1), 45).at(-2)!.text, "\ufffd");
});

Deno.test("a text with what is learnt of it keeps to the width of the terminal", () => {
  const parts = [
    { text: "How many legs has a dog that \u001b[31mruns?", learnt: false },
    { text: "日本語の長い答え and some more words of it", learnt: true },
  ];
  for (const width of [20, 30, 60, 120]) {
    const plain = shown(parts, { width, colour: false });
    for (const line of plain.split("\n")) {
      const columns = Array.from(line).reduce(
        (sum, char) => sum + (char > "\u2fff" && char < "\uff00" ? 2 : 1),
        0,
      );
      assert.ok(columns <= width, `${columns}: ${line}`);
    }
    assert.ok(!plain.includes("\x1b"));
    assert.equal(
      plain.replace(/\s+/g, ""),
      "Howmanylegshasadogthat\\u001b[31mruns?⟦日本語の長い答えandsomemorewordsofit⟧",
    );
    // In colour, a line ends without one: it would fill the margin.
    for (const line of shown(parts, { width, colour: true }).split("\n")) {
      const marks = line.split("\x1b[").length - 1;
      assert.equal(marks % 2, 0, line);
    }
  }
});

for (
  const [args, line] of [
    [[], "data needs a FILE"],
    [["x.jsonl"], "data needs --model DIR"],
    [["x.jsonl", "--model", "m", "--learn", "first"], "--learn must be one of"],
  ] as const
) {
  Deno.test(`wrong usage: loqa data ${args.join(" ")}`, async () => {
    const { code, stderr } = await loqa("data", ...args);
    assert.equal(code, 2);
    assert.ok(stderr.startsWith(`loqa: ${line}`), stderr);
  });
}
