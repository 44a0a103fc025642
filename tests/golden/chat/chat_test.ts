/**
 * Chat templates in the shapes that models ship, and what they do with values, against transformers.
 *
 * `chat.json` is written by make.py from templates*.py, records.jsonl and expressions.py.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type ChatRecord,
  compileChatTemplate,
} from "../../../src/io/chat/template.ts";
import { parseJsonExact } from "../../../src/io/files/json_exact.ts";
import { strftime } from "../../../src/io/jinja/library/globals.ts";
import { golden } from "../../helpers/golden.ts";

interface Row {
  readonly text?: string;
  /** Runs of bytes of the text, each from and to, that are the assistant's. */
  readonly masked?: [number, number][];
  readonly error?: string;
}

interface Golden {
  readonly templates: Record<string, { template: string; rows: Row[] | null }>;
  readonly expressions: (Row & { expression: string })[];
}

type Line = ChatRecord & {
  readonly name: string;
  readonly "add_generation_prompt"?: boolean;
  readonly "continue_final_message"?: boolean;
};

const { templates, expressions } = golden<Golden>(import.meta, "chat.json");
const records = Deno.readTextFileSync(
  new URL("records.jsonl", import.meta.url),
).trimEnd().split("\n").map((line) => parseJsonExact(line) as Line);

const given = { "bos_token": "<s>", "eos_token": "</s>" };

/** Errors that are meant, in one line, with the template's name and the line. */
function refuses(run: () => unknown): void {
  assert.throws(
    run,
    ({ name, message }: Error) =>
      /^(Type|Syntax|Range)Error$/.test(name) && !message.includes("\n") &&
      /Cannot (apply|read) the chat template of "T"/.test(message),
  );
}

/** Runs of bytes of ranges of characters, those that touch as one. */
function runs(
  text: string,
  ranges: readonly (readonly [number, number])[],
): [number, number][] {
  const bytes = (to: number) =>
    new TextEncoder().encode(text.slice(0, to)).length;
  const made: [number, number][] = [];
  for (const range of ranges) {
    const [from, to] = range.map(bytes);
    if (from === to) continue;
    const last = made.at(-1);
    if (last?.[1] === from) last[1] = to;
    else made.push([from, to]);
  }
  return made;
}

for (const [name, { template, rows }] of Object.entries(templates)) {
  if (!rows) continue;
  Deno.test(`chat template ${name}: text and marks are those of apply_chat_template`, () => {
    for (const [i, { text, masked, error }] of rows.entries()) {
      const record = records[i];
      const render = () =>
        compileChatTemplate(template, { given, name: "T" }).render(record, {
          addGenerationPrompt: record.add_generation_prompt,
          continueFinalMessage: record.continue_final_message,
        });
      if (error !== undefined) {
        refuses(render);
        continue;
      }
      const got = render();
      assert.equal(got.text, text, record.name);
      if (masked === undefined) {
        assert.ok(got.marked === undefined || record.continue_final_message);
      } else if (got.marked === undefined) {
        // What a macro writes is put elsewhere, where transformers marks wrongly.
        assert.equal(name, "marks in a macro");
      } else {
        assert.deepEqual(runs(got.text, got.marked), masked, record.name);
      }
    }
  });
}

for (const { expression, text, error } of expressions) {
  Deno.test(`{{ ${expression} }} is what Jinja2 makes of it`, () => {
    const render = () =>
      compileChatTemplate(
        `{% set result = (${expression}) %}{{ result }}`,
        { given, name: "T" },
      ).render({
        messages: [
          { role: "user", content: "Hi" },
          { role: "assistant", content: "Yes", "tool_calls": [] },
        ],
      }).text;
    if (error === undefined) assert.equal(render(), text);
    else refuses(render);
  });
}

Deno.test("chat template the date: today's, as Python writes it", () => {
  const { template } = templates["the date"];
  const { text } = compileChatTemplate(template, { given, name: "T" })
    .render(records[0]);
  const now = new Date();
  const [iso, , short] = text.split("|");
  assert.equal(
    iso,
    [now.getFullYear(), now.getMonth() + 1, now.getDate()]
      .map((n) => String(n).padStart(2, "0")).join("-"),
  );
  assert.match(short, /^[A-Z][a-z]{2} [1-9]\d?$/);
  assert.match(text, /\|%\|\d{3} nownone$/);
  // Python's datetime(2024, 3, 5, 16, 7, 9).strftime of the same.
  assert.equal(
    strftime(
      "%Y %y %m %-m %d %-d %e %j %B %b %A %a %H %I %-I %M %S %p %F %T %D %u %w %% %q",
      new Date(2024, 2, 5, 16, 7, 9),
    ),
    "2024 24 03 3 05 5  5 065 March Mar Tuesday Tue 16 04 4 07 09 PM 2024-03-05 16:07:09 03/05/24 2 2 % %q",
  );
});
