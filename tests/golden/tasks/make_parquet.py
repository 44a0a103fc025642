"""Writes squad.parquet, mnli.parquet and xsum.parquet beside this file, of the columns that Hugging Face's data sets have.

Run with pyarrow 26.0.1:

    python make_parquet.py
"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent

answers = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
tables = {
    "squad": {
        "id": ["a1", "a2"],
        "title": ["T", "T"],
        "context": ["Ann 🙂 saw two boats."] * 2,
        "question": ["Who?", "What?"],
        "answers": pa.array(
            [{"text": ["Ann"], "answer_start": [0]}, {"text": ["two boats", "boats"], "answer_start": [10, 14]}], answers
        ),
    },
    "mnli": {
        "premise": ["One.", "Two."],
        "hypothesis": ["Three.", "Four."],
        "label": pa.array([2, 0], pa.int64()),
        "idx": pa.array([0, 1], pa.int32()),
    },
    "xsum": {"document": ["A long\ntext."], "summary": ["A text."], "id": ["1"]},
}
for name, columns in tables.items():
    pq.write_table(pa.table(columns), HERE / f"{name}.parquet")
