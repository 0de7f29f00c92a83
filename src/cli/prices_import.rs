//! `tollgate prices import`: makes a catalogue of the public ones, and replaces a file only by a whole one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::out::{Exit, line, note};
use crate::base::clock::Clock;
use crate::pricing::catalogue::Catalogue;
use crate::pricing::file::Day;
use crate::pricing::import::{Imported, Plan, Report, Source, import, jumps};

/// Make a catalogue of LiteLLM's or genai-prices' JSON.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// LiteLLM's `model_prices_and_context_window.json` or genai-prices' v2 `data.json`.
    file: PathBuf,
    /// A second one, either format: fills what the first does not have.
    #[arg(long)]
    merge: Option<PathBuf>,
    /// Where to write the catalogue. Default: standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only these providers, separated by commas.
    #[arg(long, value_delimiter = ',')]
    providers: Vec<String>,
    /// The catalogue's version, which ledger rows name. Default: today.
    #[arg(long)]
    label: Option<String>,
    /// The version of FILE, for the header.
    #[arg(long, default_value = "unknown")]
    source_version: String,
    /// The version of the merged file, for the header.
    #[arg(long, default_value = "unknown")]
    merge_version: String,
    /// Take rates that differ tenfold from the shipped catalogue's.
    #[arg(long)]
    accept_jumps: bool,
}

/// Runs the command.
pub(super) fn run(args: &ImportArgs) -> Exit {
    match try_run(args) {
        Ok(exit) => exit,
        Err(fault) => {
            note(&fault);
            Exit::Failed
        }
    }
}

fn try_run(args: &ImportArgs) -> Result<Exit, String> {
    let base = read(&args.file)?;
    let merge = args.merge.as_deref().map(read).transpose()?;
    let today = Day(Clock::system().now()).to_string();
    let plan = Plan {
        base: Source { text: &base, version: &args.source_version },
        merge: merge.as_deref().map(|text| Source { text, version: &args.merge_version }),
        version: args.label.as_deref().unwrap_or(&today),
        providers: &args.providers,
    };
    let Imported { file, report } =
        import(&plan).map_err(|fault| format!("{}: {fault}", args.file.display()))?;
    tell(&report);
    let jumped = jumps(&Catalogue::shipped(), &file);
    if !jumped.is_empty() && !args.accept_jumps {
        note(&format!(
            "nothing written: rates differ tenfold from the shipped catalogue for {}; if that is right, add --accept-jumps",
            jumped.join(", ")
        ));
        return Ok(Exit::No);
    }
    let text = file.render();
    match &args.out {
        None => line(text.trim_end()),
        Some(path) => {
            replace(path, &text).map_err(|fault| format!("{}: {fault}", path.display()))?;
            note(&format!("{} models written to {}", file.models.len(), path.display()));
        }
    }
    Ok(Exit::Ok)
}

/// Far above any catalogue, far below what would hurt.
const LARGEST_FILE: u64 = 64 << 20;

fn read(path: &Path) -> Result<String, String> {
    let fault = |fault: std::io::Error| format!("{}: {fault}", path.display());
    let size = fs::metadata(path).map_err(fault)?.len();
    if size > LARGEST_FILE {
        return Err(format!("{}: larger than any price catalogue ({size} bytes)", path.display()));
    }
    fs::read_to_string(path).map_err(fault)
}

/// Writes beside the target and renames: a reader sees the old file or the new one, never half of one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn tell(report: &Report) {
    note(&format!("{} entries taken, {} added, {} filled", report.taken, report.added, report.filled));
    for (reason, count) in &report.left_out {
        note(&format!("{count} left out: {reason}"));
    }
    if !report.unknown_units.is_empty() {
        let units: Vec<String> =
            report.unknown_units.iter().map(|(unit, count)| format!("{unit} ({count})")).collect();
        note(&format!("rates without a unit here: {}", units.join(", ")));
    }
    if report.rounded > 0 {
        note(&format!("{} rates finer than a pico-USD were rounded", report.rounded));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: &str, out: &Path) -> ImportArgs {
        ImportArgs {
            file: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/prices").join(file),
            merge: None,
            out: Some(out.to_owned()),
            providers: Vec::new(),
            label: Some("mine".to_owned()),
            source_version: "1".to_owned(),
            merge_version: "1".to_owned(),
            accept_jumps: false,
        }
    }

    #[test]
    fn an_import_writes_a_catalogue_that_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("prices.json");
        for file in ["genai.json", "litellm.json"] {
            assert_eq!(run(&args(file, &out)), Exit::Ok);
            let catalogue = Catalogue::parse(&fs::read_to_string(&out).unwrap()).unwrap();
            assert_eq!(catalogue.version(), "mine");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_catalogue_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (out, tea) = (dir.path().join("prices.json"), dir.path().join("tea.json"));
        fs::write(&out, "as it was").unwrap();
        fs::write(&tea, "[{\"id\":\"tea\"}]").unwrap();
        assert_eq!(run(&ImportArgs { file: tea, ..args("", &out) }), Exit::Failed);
        assert_eq!(run(&args("absent.json", &out)), Exit::Failed);
        assert_eq!(fs::read_to_string(&out).unwrap(), "as it was");
    }

    #[test]
    fn a_tenfold_jump_needs_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let (out, file) = (dir.path().join("prices.json"), dir.path().join("slip.json"));
        let slip = r#"{"gpt-4o":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":1e-4}}"#;
        fs::write(&file, slip).unwrap();
        let args = |accept_jumps| ImportArgs { file: file.clone(), accept_jumps, ..args("", &out) };
        assert_eq!(run(&args(false)), Exit::No);
        assert!(!out.exists());
        assert_eq!(run(&args(true)), Exit::Ok);
        assert!(out.exists());
    }
}
