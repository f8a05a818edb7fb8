//! Prints `record.schema.json` or, with the argument `markdown`, the tables of `RECORDS.md`.

use rankle_record::schema;

fn main() {
    let markdown = std::env::args().nth(1).is_some_and(|form| form == "markdown");
    print!("{}", if markdown { schema::markdown() } else { schema::json_schema() });
}
