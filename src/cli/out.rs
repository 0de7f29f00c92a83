//! What commands print: tables for people, JSON for programs. A closed pipe ends output quietly.

use std::io::{self, BufRead as _, IsTerminal, Write};
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

/// Exit codes of every command (docs/CLI.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// It ran and the answer is no: a fault in the config, a difference found, nothing there.
    No,
    /// It could not run: bad arguments, no file, no ledger.
    Failed,
    /// `verify`, `bench`: the upstream cannot be reached or refuses the credential.
    Unreached,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::SUCCESS,
            Exit::No => Self::from(1),
            Exit::Failed => Self::from(2),
            Exit::Unreached => Self::from(3),
        }
    }
}

/// Prints one line on standard output.
pub fn line(text: &str) {
    // a reader that has gone (`| head`) is no fault of ours
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints one line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks on the terminal whether to go on; `None` where nobody can be asked.
#[must_use]
pub fn agreed() -> Option<bool> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let mut prompt = io::stderr().lock();
    // nobody can be asked if it cannot be shown, which reading will tell
    let _ = write!(prompt, "Go on? [y/N] ").and_then(|()| prompt.flush());
    let mut said = String::new();
    let read = io::stdin().lock().read_line(&mut said);
    Some(read.is_ok() && ["y", "yes"].contains(&said.trim().to_ascii_lowercase().as_str()))
}

/// Whether standard output is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A table in the house style: one rule under the headings, numbers to the right from column `first_number` on.
#[must_use]
pub fn table(headings: &[&str], first_number: usize, rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    // numbers broken over lines cannot be read: a narrow terminal wraps whole rows instead
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for part in [TableComponent::LeftBorder, TableComponent::VerticalLines, TableComponent::RightBorder] {
        table.remove_style(part);
    }
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_header(headings.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
