//! `-o custom-columns=HEADING:PATH,…`: a table that the asker has designed.

use serde_json::Value;

use crate::jsonpath::{Path, plain};
use crate::table::Table;

/// The columns.
#[derive(Debug)]
pub(crate) struct CustomColumns(Vec<(String, Path)>);

impl CustomColumns {
    /// Parses; the fault names the column.
    pub(crate) fn parse(text: &str) -> Result<CustomColumns, String> {
        let mut columns = Vec::new();
        for column in pieces(text) {
            let Some((heading, path)) = column.split_once(':') else {
                return Err(format!("column {column:?} is not HEADING:PATH"));
            };
            columns.push((heading.to_owned(), Path::parse_relaxed(path)?));
        }
        Ok(CustomColumns(columns))
    }

    /// One line an object.
    pub(crate) fn table(&self, objects: &[Value]) -> Result<String, String> {
        let mut table = Table::new(self.0.iter().map(|(heading, _)| heading.clone()));
        for object in objects {
            let cells: Result<Vec<String>, String> =
                self.0.iter().map(|(_, path)| cell(object, path)).collect();
            table.row(cells?);
        }
        Ok(table.columns())
    }
}

/// As kubectl shows what is not there.
fn cell(object: &Value, path: &Path) -> Result<String, String> {
    let found = path.values(object)?;
    let words: Vec<String> = found.into_iter().map(plain).collect();
    Ok(match words.is_empty() {
        true => "<none>".to_owned(),
        false => words.join(","),
    })
}

/// Split at commas that stand in no brackets.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    //! Columns, and what is none.

    use serde_json::json;

    use super::*;

    #[test]
    fn each_column_has_its_path() {
        let objects = [
            json!({"metadata": {"name": "a"}, "spec": {"uses": ["x", "y"]}}),
            json!({"metadata": {"name": "b"}}),
        ];
        let columns = CustomColumns::parse("NAME:.metadata.name,USES:spec.uses[0,1],X:.spec.uses");
        assert_eq!(
            columns.unwrap().table(&objects).unwrap(),
            "NAME   USES     X\na      x,y      [\"x\",\"y\"]\nb      <none>   <none>\n"
        );
        let fault = CustomColumns::parse("NAME").unwrap_err();
        assert_eq!(fault, "column \"NAME\" is not HEADING:PATH");
    }
}
