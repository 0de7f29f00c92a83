//! From a file to settings: read, parse, fit, check. All faults at once, or settings that can be used.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize as _;

use super::check;
use super::fault::{Fault, Faults};
use super::fit::fit;
use super::form;
use super::report::{KeyPath, Report, Spot};
use super::secrets::Secrets;
use super::settings::Settings;
use super::tree;

/// A config that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says, secrets resolved, and the files it refers to as paths that can be opened.
    pub settings: Settings,
    /// What deserves a look.
    pub warnings: Vec<Fault>,
    /// 16 hex digits that change with the file's bytes and with any secret it refers to.
    pub fingerprint: String,
}

/// The environment of this process, for [`load`].
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the door to the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Loads the config at `path`.
///
/// Paths in it: `data_dir` starts from the current folder, since that is where the process writes;
/// `file:` secrets, `tls` and `price_catalogue` start from the folder of the config file, since they belong to it.
///
/// # Errors
/// All faults of the file at once, with their lines; or that it cannot be read.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Faults> {
    let unreadable = |reason| Faults::Unreadable { file: path.into(), reason };
    let bytes = read(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut report = Report::default();
    let loaded = text(&bytes, &mut report)
        .and_then(|text| settings(text, &Secrets { environment, folder }, &mut report));
    let clean = !report.has_errors();
    let found = report.into_faults();
    match loaded {
        Some((settings, fingerprint)) if clean => Ok(Loaded { settings, warnings: found, fingerprint }),
        _ => Err(Faults::Found { file: path.into(), found }),
    }
}

fn settings(text: &str, secrets: &Secrets<'_>, report: &mut Report) -> Option<(Settings, String)> {
    let root = tree::parse(text, report)?;
    let form = form::settings();
    let fitted = fit(&root, &form, secrets, report);
    let Ok(mut settings) = Settings::deserialize(fitted.value) else {
        // serde's own message could hold a secret; a test shows that what fits can be read
        report.error(
            Spot::START,
            &KeyPath::default(),
            "Tollgate cannot read its own form of this file",
            PLEASE_REPORT,
        );
        return None;
    };
    settings.refer_from(secrets.folder);
    report.blame_what_is_wrong();
    check::check(&settings, &root, report);
    let mut hasher = blake3::Hasher::new();
    hasher.update(fitted.secrets.as_bytes()).update(text.as_bytes());
    if let Some(file) = settings.price_catalogue.as_ref().and_then(|path| File::open(path).ok()) {
        // prices are in force with the config; whoever builds from it reports a file that cannot be read
        let _ = hasher.update_reader(file);
    }
    let fingerprint = hasher.finalize().to_hex()[..16].to_owned();
    Some((settings, fingerprint))
}

impl Settings {
    /// Makes the files that belong to the config start from its folder.
    fn refer_from(&mut self, folder: &Path) {
        if let Some(tls) = &mut self.tls {
            tls.cert = folder.join(&tls.cert);
            tls.key = folder.join(&tls.key);
        }
        if let Some(catalogue) = &mut self.price_catalogue {
            *catalogue = folder.join(&*catalogue);
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    Ok(bytes)
}

fn text<'a>(bytes: &'a [u8], report: &mut Report) -> Option<&'a str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(fault) => {
            let good = &bytes[..fault.valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            let spot = Spot { line, column: 1 };
            report.error(spot, &KeyPath::default(), "this line is not UTF-8", "save the file as UTF-8");
            None
        }
    }
}

/// 64 MiB: four times ten thousand teams with a hundred thousand keys; a file beyond that is not a config.
const LARGEST: u64 = 64 << 20;
const PLEASE_REPORT: &str = "this is a fault of Tollgate's: please report it, with the file if you can";

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
