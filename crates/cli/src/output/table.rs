//! Tables that fit the terminal. Pure: from cells to text.
//!
//! Columns are as wide as their widest cell. If that is too wide for the terminal, columns that can be spared are left
//! out, then flexible ones give way, the widest first, and their cells are cut with `…`. Without a terminal nothing is cut, so that scripts get the whole text.

use unicode_width::UnicodeWidthChar;

use super::{Paint, Screen, printable};

/// How a column behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text that is never cut: ids, states, times.
    Text(&'static str),
    /// Numbers, aligned to the right.
    Number(&'static str),
    /// Text that may be cut at its end: names.
    Flexible(&'static str),
    /// Text that may be cut in its middle: paths.
    Path(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) | Self::Flexible(title) | Self::Path(title) => {
                title
            }
        }
    }

    fn gives_way(self) -> bool {
        matches!(self, Self::Flexible(_) | Self::Path(_))
    }
}

/// Narrower than this no column gets.
const MIN_WIDTH: usize = 6;
/// Columns that can be spared go before a flexible one gets narrower than this.
const READABLE_WIDTH: usize = 20;
const GAP: &str = "  ";

/// A heading and rows.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Paint)>>,
    spared: Vec<&'static str>,
}

impl Table {
    /// No rows yet.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            spared: Vec::new(),
        }
    }

    /// Names the columns that are left out when the terminal is too narrow for all, the first one first.
    pub(crate) fn sparing(mut self, titles: &[&'static str]) -> Self {
        self.spared = titles.to_vec();
        self
    }

    /// Adds a row of plain cells.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.painted_row(cells.into_iter().map(|cell| (cell, Paint::Plain)).collect());
    }

    /// Adds a row of cells with colours.
    pub(crate) fn painted_row(&mut self, cells: Vec<(String, Paint)>) {
        let clean = cells
            .into_iter()
            .map(|(text, paint)| (printable(&text), paint))
            .collect();
        self.rows.push(clean);
    }

    /// The text, ready to print.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        self.render_with(screen.width(), |paint, text| screen.paint(paint, text))
    }

    fn render_with(&self, limit: Option<usize>, paint: impl Fn(Paint, &str) -> String) -> String {
        let mut widths = self.widths();
        let shown = self.shown(&widths, limit);
        for (width, shown) in widths.iter_mut().zip(&shown) {
            if !shown {
                *width = 0;
            }
        }
        let widths = self.narrowed(widths, &shown, limit);
        let heading: Vec<(String, Paint)> = self
            .columns
            .iter()
            .map(|column| (column.title().to_owned(), Paint::Bold))
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            let mut padding = String::new();
            for (((column, width), shown), (cell, colour)) in
                self.columns.iter().zip(&widths).zip(&shown).zip(row)
            {
                if !shown {
                    continue;
                }
                let cell = cut(cell, *width, *column);
                let free = " ".repeat(width.saturating_sub(display_width(&cell)));
                line.push_str(&padding);
                if matches!(column, Column::Number(_)) {
                    line.push_str(&free);
                    padding = GAP.to_owned();
                } else {
                    padding = format!("{free}{GAP}");
                }
                line.push_str(&paint(*colour, &cell));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The widths that show every cell whole.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| display_width(column.title()))
            .collect();
        for row in &self.rows {
            for (width, (cell, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(display_width(cell));
            }
        }
        widths
    }

    /// Which columns there is room for.
    fn shown(&self, widths: &[usize], limit: Option<usize>) -> Vec<bool> {
        let mut shown = vec![true; widths.len()];
        let Some(limit) = limit else { return shown };
        for title in &self.spared {
            let needed: usize = self
                .columns
                .iter()
                .zip(widths)
                .zip(&shown)
                .filter(|(_, shown)| **shown)
                .map(|((column, width), _)| {
                    let least = if column.gives_way() {
                        READABLE_WIDTH
                    } else {
                        usize::MAX
                    };
                    GAP.len() + (*width).min(least)
                })
                .sum();
            if needed <= limit + GAP.len() {
                break;
            }
            for (column, shown) in self.columns.iter().zip(&mut shown) {
                *shown &= column.title() != *title;
            }
        }
        shown
    }

    /// Takes what is too wide off the widest flexible columns.
    fn narrowed(&self, mut widths: Vec<usize>, shown: &[bool], limit: Option<usize>) -> Vec<usize> {
        let Some(limit) = limit else { return widths };
        let count = shown.iter().filter(|shown| **shown).count();
        let gaps = GAP.len() * count.saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
        while excess > 0 {
            let widest = (0..widths.len())
                .filter(|at| self.columns[*at].gives_way() && widths[*at] > MIN_WIDTH)
                .max_by_key(|at| widths[*at]);
            let Some(at) = widest else { break };
            widths[at] -= 1;
            excess -= 1;
        }
        widths
    }
}

/// Columns that a text takes on a terminal.
fn display_width(text: &str) -> usize {
    text.chars().map(|letter| letter.width().unwrap_or(0)).sum()
}

fn cut(text: &str, width: usize, column: Column) -> String {
    if !column.gives_way() || display_width(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let tail_room = if matches!(column, Column::Path(_)) {
        room * 2 / 3
    } else {
        0
    };
    let head = take_width(text.chars(), room - tail_room);
    let tail: String = take_width(text.chars().rev(), tail_room)
        .chars()
        .rev()
        .collect();
    format!("{head}…{tail}")
}

fn take_width(letters: impl Iterator<Item = char>, room: usize) -> String {
    let mut used = 0;
    letters
        .take_while(|letter| {
            used += letter.width().unwrap_or(0);
            used <= room
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Column, Table, display_width};

    fn sample() -> Table {
        let mut table = Table::new(&[
            Column::Text("ID"),
            Column::Number("SIZE"),
            Column::Path("PATH"),
        ]);
        table.row(vec![
            "a-1".into(),
            "12".into(),
            "/home/alice/documents/report.pdf".into(),
        ]);
        table.row(vec!["b-22".into(), "1,234".into(), "/数据/备份".into()]);
        table
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let text = sample().render_with(None, |_, cell| cell.to_owned());
        let expected = "ID     SIZE  PATH\na-1      12  /home/alice/documents/report.pdf\nb-22  1,234  /数据/备份\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn paths_give_way_in_the_middle() {
        let text = sample().render_with(Some(30), |_, cell| cell.to_owned());
        assert!(text.lines().all(|line| display_width(line) <= 30), "{text}");
        assert!(text.contains("a-1      12  /home/…report.pdf"), "{text}");
    }

    #[test]
    fn columns_that_can_be_spared_go_first() {
        let mut table = sample();
        table.spared = vec!["SIZE"];
        let wide = table.render_with(Some(34), |_, cell| cell.to_owned());
        assert!(wide.starts_with("ID     SIZE  PATH\n"), "{wide}");
        let narrow = table.render_with(Some(30), |_, cell| cell.to_owned());
        assert!(narrow.starts_with("ID    PATH\na-1   /home/"), "{narrow}");
        assert!(
            narrow.lines().all(|line| display_width(line) <= 30),
            "{narrow}"
        );
    }

    #[test]
    fn ids_are_never_cut_and_control_characters_are_gone() {
        let mut table = Table::new(&[Column::Text("ID"), Column::Flexible("NAME")]);
        table.row(vec!["0123456789".into(), "x\u{1b}[2Jyyyyyyyyyyyyyy".into()]);
        let text = table.render_with(Some(5), |_, cell| cell.to_owned());
        assert!(text.contains("0123456789  x\\x1b…"), "{text}");
    }
}
