//! Rows of CSV, as RFC 4180 has them: every cell quoted, lines that end with CR LF, UTF-8 without a mark in front.
//!
//! A spreadsheet takes a cell for a formula by its first character, whatever its quotes; such a cell gets an apostrophe in
//! front, which is not part of the value. Paths start with `/`, so it is only seen in messages of hostile names.

/// What a spreadsheet may take for the start of a formula.
const STARTS_OF_FORMULAS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// Appends a row.
pub(super) fn push_row(out: &mut String, cells: &[&str]) {
    for (number, cell) in cells.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        push_cell(out, cell);
    }
    out.push_str("\r\n");
}

fn push_cell(out: &mut String, cell: &str) {
    out.push('"');
    if cell.starts_with(STARTS_OF_FORMULAS) {
        out.push('\'');
    }
    for (number, part) in cell.split('"').enumerate() {
        if number > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::push_row;

    #[test]
    fn rows() {
        for (cells, expected) in [
            (vec!["/a b", ""], "\"/a b\",\"\"\r\n"),
            (vec!["say \"x\", y"], "\"say \"\"x\"\", y\"\r\n"),
            (vec!["\"\""], "\"\"\"\"\"\"\r\n"),
            (vec!["/a\r\nb"], "\"/a\r\nb\"\r\n"),
            (vec!["=1+1", "@x", "-2"], "\"'=1+1\",\"'@x\",\"'-2\"\r\n"),
            (
                vec!["\tx", "\r=1", "\n=1"],
                "\"'\tx\",\"'\r=1\",\"'\n=1\"\r\n",
            ),
            (vec!["a=1", "ü\u{fffd}"], "\"a=1\",\"ü\u{fffd}\"\r\n"),
        ] {
            let mut out = String::new();
            push_row(&mut out, &cells);
            assert_eq!(out, expected);
        }
    }
}
