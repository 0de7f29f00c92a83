//! A gateway of the command's own: in this process, on a free loopback port, with one upstream and one key,
//! in a folder that is gone afterwards.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::app::{self, Running, StartFault};
use crate::base::chance::Chance;
use crate::base::secret::Secret;
use crate::config::Loaded;
use crate::config::settings::{KeySection, Settings, TeamSection};
use crate::ledger::books::Books;
use crate::store::ledger::{Filter, LedgerReader as _, StoreFault};
use crate::store::record::Record;

/// The gateway. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) address: SocketAddr,
    /// The only key that opens it.
    pub(super) key: Secret,
    gateway: Option<Running>,
    // gone last
    folder: Folder,
}

impl Own {
    /// Starts it with nothing of the config but the upstream and what things cost.
    pub(super) fn start(
        loaded: &Loaded,
        config: &Path,
        upstream: &str,
        chance: &Chance,
    ) -> Result<Self, StartFault> {
        let folder = Folder::make(chance)?;
        let key = Secret::new(format!("tg-verify-{:032x}", chance.next_u128()));
        let settings = settings(&loaded.settings, upstream, &folder.data_dir(), key.clone());
        let gateway = app::start(&settings, config.to_owned(), &loaded.fingerprint)?;
        Ok(Self { address: gateway.data, key, gateway: Some(gateway), folder })
    }

    /// Stops it, and reads what it wrote down, by the ids that clients were told.
    pub(super) fn stop(mut self) -> Result<HashMap<String, Record>, StoreFault> {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
        let mut rows = HashMap::new();
        Books::open(&self.folder.data_dir())?.scan(&Filter::default(), &mut |row| {
            rows.insert(row.request_id().to_string(), row.clone());
        })?;
        Ok(rows)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

fn settings(given: &Settings, upstream: &str, data_dir: &Path, key: Secret) -> Settings {
    let mut settings = given.clone();
    settings.listen = "127.0.0.1:0".into();
    settings.admin.listen = "127.0.0.1:0".into();
    settings.tls = None;
    settings.open = false;
    settings.data_dir = data_dir.into();
    settings.workers = Some(NonZeroUsize::MIN);
    settings.upstreams.retain(|name, _| name == upstream);
    for section in settings.upstreams.values_mut() {
        section.limits = None;
        // upstreams that repeat what they got would show it
        section.propagate_trace = Some(false);
    }
    let key = KeySection {
        name: "verify".into(),
        hash: None,
        key: Some(key),
        models: None,
        expires: None,
        budgets: Vec::new(),
        limits: Default::default(),
    };
    settings.teams.clear();
    settings.teams.insert("verify".into(), TeamSection { keys: vec![key], ..TeamSection::default() });
    settings.routes.clear();
    settings.limits.clear();
    settings.budgets.clear();
    settings.telemetry = Default::default();
    // where the config's own books are there may be more room than here
    settings.ledger = Default::default();
    settings.log.requests = false;
    settings.log.level = "error".into();
    settings
}

/// A folder of our own among the system's temporary files, removed when dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make(chance: &Chance) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tollgate-verify-{:016x}", chance.next_u64()));
        // fails if somebody made one of this name; nobody else may look into ours
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    fn data_dir(&self) -> PathBuf {
        self.path.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // nothing in it matters any more; at worst the system tidies it up
        let _ = fs::remove_dir_all(&self.path);
    }
}
