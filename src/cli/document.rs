//! Writes docs/CLI.md from the command line's own help, so that the page cannot say anything else.

use std::fmt::Write;

use clap::{Command, CommandFactory};

use super::Cli;

/// The page docs/CLI.md: every command with the help that it prints.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    let command = quiet(Cli::command().term_width(WIDTH));
    section(&mut page, &command, &[command.get_name()]);
    page
}

/// Wide enough for most sentences, narrow enough for a page.
const WIDTH: usize = 100;

fn section(page: &mut String, root: &Command, path: &[&str]) {
    let name = path.join(" ");
    let help = help_of(root, path);
    write!(page, "\n## `{name}`\n\n```text\n{help}\n```\n").expect("a String takes all text");
    let place = path.iter().skip(1).try_fold(root, |command, name| command.find_subcommand(name));
    for below in place.into_iter().flat_map(Command::get_subcommands).filter(|below| !below.is_hide_set()) {
        let mut path = path.to_vec();
        path.push(below.get_name());
        section(page, root, &path);
    }
}

/// What `PATH --help` prints.
fn help_of(root: &Command, path: &[&str]) -> String {
    let asked = path.iter().copied().chain(["--help"]);
    let printed = root.clone().try_get_matches_from(asked).err().map(|help| help.render().to_string());
    let printed = printed.unwrap_or_default();
    let lines: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Without what the environment of the moment would add: values of variables.
fn quiet(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(quiet)
}

const INTRODUCTION: &str = "\
# The command line

<!-- Generated from the commands' own help. To refresh: TOLLGATE_BLESS=1 cargo test --lib cli::document -->

Answers go to standard output, everything else to standard error. Where a command has `--json`, its JSON is
meant for programs and is kept stable ([STABILITY.md](STABILITY.md)). Tables are for people and may change.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it ran, and the answer is no: a config with faults, a key that nobody has, a gateway that is not ready |
| 2 | it could not run: wrong arguments, no such file, a store that cannot be read |
| 3 | `verify`, `bench`: the upstream cannot be reached, or refuses the credential |
| 130 | `serve`: stopped at once by a second stop signal |

Most commands read the config for the places of things. They look at `--config FILE`, then at the variable
`TOLLGATE_CONFIG`, then at `config/tollgate.yaml`. Only `serve` and `keys check` need the secrets that the config
refers to.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_page_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLI.md");
        if crate::config::environment("TOLLGATE_BLESS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == page(),
            "docs/CLI.md is stale; refresh it: TOLLGATE_BLESS=1 cargo test --lib cli::document"
        );
    }

    #[test]
    fn every_command_stands_on_the_page_with_its_usage() {
        let page = page();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(page.contains(&format!("\n## `tollgate {name}`\n")), "{name}");
            assert!(page.contains(&format!("Usage: tollgate {name}")), "{name}");
        }
    }
}
