/**
 * Commonsense reasoning by log-likelihood, zero-shot: eight data sets in the layout of LLM-Adapters
 * (AGI-Edgerunners/LLM-Adapters, dataset/NAME/test.json: instruction, input, output, answer).
 *
 * The instruction names the choices and the form of the answer. Question and choices are taken out of it again and
 * asked with the prompts of lm-evaluation-harness, so that figures compare with its `acc` and `acc_norm`. Two
 * differ from it for want of data: BoolQ has no passage in this layout, and SIQA's context and question are one text.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { choiceTask } from "./choice.ts";
import type { Choice, EncoderOptions, Question } from "./choice.ts";
import { badRecord, textOf } from "./task.ts";
import type { EvalRecord, ScoreTask } from "./task.ts";

/** A data set, by the name of its folder. */
export type CommonsenseName =
  | "boolq"
  | "piqa"
  | "social_i_qa"
  | "hellaswag"
  | "winogrande"
  | "ARC-Easy"
  | "ARC-Challenge"
  | "openbookqa";

/** Question and choices of a record, taken out of its instruction. */
export interface ParsedQuestion {
  /** The question, or the sentence to complete. */
  readonly question: string;
  /** The choices; "true" and "false" of BoolQ. */
  readonly choices: readonly string[];
  /** Number of the right one, from 0. */
  readonly gold: number;
}

interface Layout {
  /** Begin of the instruction. */
  readonly lead: string;
  /** Name of a choice; none where the form of the answer holds the choices themselves. */
  readonly label?: string;
  /** The choices as asked. */
  ask(parsed: ParsedQuestion, record: EvalRecord): Choice[];
}

const CHOOSE = "Please choose the correct";
const ANSWERS = {
  lead: `${CHOOSE} answer to the question: `,
  label: "Answer",
};

function after(context: (question: string) => string): Layout["ask"] {
  return ({ question, choices }) =>
    choices.map((text) => ({
      context: context(question),
      continuation: ` ${text}`,
      text,
    }));
}

/** HellaSwag's marks of the pages that its texts were taken from, removed as lm-evaluation-harness does. */
function withoutMarks(text: string): string {
  return text.trim().replaceAll(" [title]", ". ").replace(/\[.*?\]/g, "")
    .replaceAll("  ", " ");
}

const LAYOUTS: Readonly<Record<CommonsenseName, Layout>> = {
  boolq: {
    lead: "Please answer the following question with true or false, question: ",
    ask: ({ question }) =>
      ["yes", "no"].map((text) => ({
        context: `Question: ${question.replace(/\?+$/, "")}?\nAnswer:`,
        continuation: ` ${text}`,
        text,
      })),
  },
  piqa: {
    lead: `${CHOOSE} solution to the question: `,
    label: "Solution",
    ask: after((question) => `Question: ${question}\nAnswer:`),
  },
  "social_i_qa": { ...ANSWERS, ask: after((question) => `Q: ${question}\nA:`) },
  hellaswag: {
    lead: `${CHOOSE} ending to complete the given sentence: `,
    label: "Ending",
    ask: ({ question, choices }) =>
      choices.map(withoutMarks).map((text) => ({
        context: withoutMarks(question),
        continuation: ` ${text}`,
        text,
      })),
  },
  winogrande: {
    lead:
      `${CHOOSE} answer to fill in the blank to complete the given sentence: `,
    label: "Option",
    ask: ({ question, choices }, record) => {
      const parts = question.split("_");
      if (parts.length !== 2) {
        throw badRecord(
          record,
          `wanted one blank (_) in the sentence, got ${parts.length - 1}`,
        );
      }
      // Partial evaluation: the text behind the blank is scored, given each choice in it.
      const continuation = ` ${parts[1].trim()}`;
      return choices.map((text) => ({
        context: parts[0] + text,
        continuation,
        text,
      }));
    },
  },
  "ARC-Easy": {
    ...ANSWERS,
    ask: after((question) => `Question: ${question}\nAnswer:`),
  },
  "ARC-Challenge": {
    ...ANSWERS,
    ask: after((question) => `Question: ${question}\nAnswer:`),
  },
  openbookqa: { ...ANSWERS, ask: after((question) => question) },
};

/** Every data set that {@linkcode commonsenseTask} takes. */
export const COMMONSENSE: readonly CommonsenseName[] = Object.keys(
  LAYOUTS,
) as CommonsenseName[];

/**
 * Takes question, choices and answer out of a record.
 *
 * @throws {SyntaxError} If the instruction has another form, a choice is missing, empty or there twice, or the
 * answer is none of them; it names file and line.
 */
export function parseInstruction(
  name: CommonsenseName,
  record: EvalRecord,
): ParsedQuestion {
  const { lead, label } = LAYOUTS[name];
  const instruction = textOf(record, "instruction");
  const answer = textOf(record, "answer").trim();
  const form = /^([^]*?)\s*Answer format: (\S+)\s*$/.exec(instruction);
  if (!form || !instruction.startsWith(lead)) {
    throw badRecord(
      record,
      `wanted an instruction "${lead}… Answer format: …", got ${
        JSON.stringify(instruction.slice(0, 80))
      }`,
    );
  }
  const names = form[2].split("/");
  const gold = names.indexOf(answer);
  if (gold < 0) {
    throw badRecord(
      record,
      `wanted an answer of ${names.join(", ")}, got ${JSON.stringify(answer)}`,
    );
  }
  const body = form[1].slice(lead.length);
  if (label === undefined) {
    if (names.join() !== "true,false") {
      throw badRecord(record, `wanted true/false, got ${form[2]}`);
    }
    return { question: body.trim(), choices: names, gold };
  }
  const marks = Array.from(
    body.matchAll(new RegExp(`(?:^|\\s)${label}(\\d+):`, "g")),
  );
  const wanted = names.map((_, i) => `${label.toLowerCase()}${i + 1}`);
  const found = marks.map(([, number]) => `${label.toLowerCase()}${number}`);
  if (names.join() !== wanted.join() || found.join() !== wanted.join()) {
    throw badRecord(
      record,
      `wanted the choices ${names.join(", ")} once each and in order, got ${
        found.join(", ") || "none"
      }`,
    );
  }
  const choices = marks.map((mark, i) =>
    body.slice(mark.index + mark[0].length, marks[i + 1]?.index).trim()
  );
  const question = body.slice(0, marks[0].index).trim();
  if (question === "" || choices.includes("")) {
    throw badRecord(record, "wanted a question and choices, got an empty one");
  }
  return { question, choices, gold };
}

/**
 * The question of a record as it is asked.
 *
 * @throws {SyntaxError} As {@linkcode parseInstruction}.
 */
export function commonsenseQuestion(
  name: CommonsenseName,
  record: EvalRecord,
): Question {
  const parsed = parseInstruction(name, record);
  return { choices: LAYOUTS[name].ask(parsed, record), gold: parsed.gold };
}

/**
 * The task of a data set's records: `accuracy`, and by length of the choice `normalizedAccuracy` (characters) and
 * `byteNormalizedAccuracy`; WinoGrande has only the first, its choices share one continuation.
 *
 * @throws {SyntaxError} At the first record that cannot be used; it names file and line.
 * @throws {RangeError} If there is none.
 */
export async function commonsenseTask(
  name: CommonsenseName,
  { records, ...options }: EncoderOptions & {
    records: AsyncIterable<EvalRecord> | Iterable<EvalRecord>;
  },
): Promise<ScoreTask> {
  const questions: Question[] = [];
  for await (const record of records) {
    questions.push(commonsenseQuestion(name, record));
  }
  if (questions.length === 0) {
    throw new ValueError(`Cannot ask ${name}: wanted records, got none`);
  }
  const normalize = name !== "winogrande";
  return choiceTask(questions, { name, normalize, ...options });
}
